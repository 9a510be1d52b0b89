// Rollout, verification, training step and broadcast with the shapes that people have, small and of random weights.

import { test } from 'node:test';
import { turnRingWith } from '../support/model-ring.ts';
import { murmurLab } from '../support/murmur-process.ts';

/** SmolLM2's nine heads over three, its head tied. */
const SMOLLM2 = { hiddenSize: 36, intermediateSize: 96, layers: 3, heads: 9, keyValueHeads: 3, headDim: 4 };
/** Heads wider together than the hidden state, queries and keys normed. */
const QWEN3 = {
  architecture: 'Qwen3ForCausalLM',
  hiddenSize: 24,
  intermediateSize: 72,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  headDim: 8,
} as const;

for (const [name, shape] of Object.entries({ SMOLLM2, QWEN3 })) {
  test(`the ring turns with a ${name} shape`, { timeout: 120_000 }, async (t) => {
    await turnRingWith(await murmurLab(t), shape);
  });
}

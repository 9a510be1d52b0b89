// Rollout, verification, training step and broadcast with a shape that people have and the starter has not: Qwen3's, its
// heads wider together than the hidden state, queries and keys normed. SmolLM2's goes round in chat-ring.test.ts.

import { test } from 'node:test';
import { turnRingWith } from '../support/model-ring.ts';
import { murmurLab } from '../support/murmur-process.ts';

const QWEN3 = {
  architecture: 'Qwen3ForCausalLM',
  hiddenSize: 24,
  intermediateSize: 72,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  headDim: 8,
} as const;

test('the ring turns with a Qwen3 shape', { timeout: 120_000 }, async (t) => {
  await turnRingWith(await murmurLab(t), QWEN3);
});

// The whole ring on a GPU interface (SwiftShader): every model graph of both processes runs on WebGPU.

import { test } from 'node:test';
import { turnRingWith } from '../support/model-ring.ts';
import { murmurLab } from '../support/murmur-process.ts';
import { onSwiftShader } from '../support/swiftshader.ts';

onSwiftShader(import.meta.filename, () => {
  test('rollout, verification, training step and broadcast on WebGPU', { timeout: 120_000 }, async (t) => {
    const shape = { hiddenSize: 16, intermediateSize: 24, layers: 1 };
    await turnRingWith(await murmurLab(t), shape, ['--device', 'webgpu']);
  });
});

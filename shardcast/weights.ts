// Whether a file is the weights that a manifest names: safetensors in bf16, the recipe's tensors and no others, every value
// finite, and the right policyRoot (spec/shardcast.md "What is published").
// Invariant: a piece at a time, the event loop runs between pieces: a model of any size neither fills the memory nor blocks.

import { setImmediate } from 'node:timers/promises';
import { type ModelConfig, requiredTensors } from '../node/model/config.ts';
import { createPolicyRootHash } from '../node/model/policy-root.ts';
import {
  openSafetensors,
  type SafetensorsFile,
  safetensorsInMemory,
  type TensorEntry,
} from '../node/model/safetensors.ts';
import { elementCount, namesInByteOrder } from '../node/model/weights.ts';
import { toHex } from '../node/protocol/bytes.ts';
import { SwarmError } from '../node/protocol/errors.ts';
import type { WeightsSize } from './manifest.ts';

/** Exponent bits of a bf16: all set means infinite or NaN. */
const EXPONENT = 0x7f80;
/** Some 2 ms of looking at values and hashing (measured). */
const PIECE_BYTES = 1 << 20;

/** What a file of this config's weights weighs in bf16. */
export function weightsSizeOf(config: ModelConfig): WeightsSize {
  const specs = requiredTensors(config);
  return { dataBytes: specs.reduce((sum, { shape }) => sum + 2 * elementCount(shape), 0), tensors: specs.length };
}

/** The entries by name: exactly the tensors that the config requires. */
function requiredEntries(config: ModelConfig, { entries, path }: SafetensorsFile): ReadonlyMap<string, TensorEntry> {
  const specs = requiredTensors(config);
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  for (const { name, shape } of specs) {
    const found = byName.get(name);
    if (found === undefined || found.shape.length !== shape.length || found.shape.some((d, i) => d !== shape[i])) {
      const message = `tensor ${name} is missing or has another shape than the recipe's`;
      throw new SwarmError('MODEL_TENSOR_MISMATCH', message, { tensor: name });
    }
    if (found.dtype !== 'BF16') {
      const message = `${path}: tensor ${name} is ${found.dtype}, not BF16; policies are published in bf16`;
      throw new SwarmError('MODEL_FILE_CORRUPT', message, { tensor: name });
    }
  }
  if (byName.size !== specs.length) {
    throw new SwarmError('MODEL_TENSOR_MISMATCH', `expected ${specs.length} tensors, got ${byName.size}`);
  }
  return byName;
}

/** @param bits values of a tensor from element `start` on */
function checkFinite(name: string, start: number, bits: Uint16Array): void {
  for (let i = 0; i < bits.length; i++) {
    if ((bits[i]! & EXPONENT) !== EXPONENT) continue;
    throw new SwarmError('NON_FINITE_WEIGHT', `tensor ${name} holds a non-finite value; the policy is refused`, {
      tensor: name,
      index: start + i,
    });
  }
}

/**
 * Checks a whole weights file.
 * @param weights its bytes, or its path
 * @returns its policyRoot in hex
 * @throws {SwarmError} MODEL_FILE_CORRUPT, MODEL_FILE_MISSING, UNSUPPORTED_MODEL, MODEL_TENSOR_MISMATCH, NON_FINITE_WEIGHT
 */
export async function rootOfWeights(weights: Uint8Array | string, config: ModelConfig): Promise<string> {
  const file = await (typeof weights === 'string' ? openSafetensors(weights) : safetensorsInMemory(weights));
  try {
    const entries = requiredEntries(config, file);
    const root = createPolicyRootHash();
    const piece = new Uint8Array(
      Math.min(PIECE_BYTES, Math.max(...[...entries.values()].map((each) => each.byteLength))),
    );
    for (const name of namesInByteOrder(entries.keys())) {
      const entry = entries.get(name)!;
      root.begin(name, entry.shape);
      for (let at = 0; at < entry.byteLength; at += piece.length) {
        const bytes = piece.subarray(0, Math.min(piece.length, entry.byteLength - at));
        await file.bytes(entry, at, bytes);
        checkFinite(name, at / 2, new Uint16Array(piece.buffer, 0, bytes.length / 2));
        root.values(bytes);
        await setImmediate();
      }
    }
    return toHex(root.digest());
  } finally {
    await file.close();
  }
}

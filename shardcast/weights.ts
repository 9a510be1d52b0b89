// Whether bytes are the weights that a manifest names: one safetensors file in bf16, the recipe's tensors and no others,
// every value finite, and the right policyRoot (spec/shardcast.md "What is published").

import { type ModelConfig, requiredTensors } from '../node/model/config.ts';
import { policyRootOfBf16 } from '../node/model/policy-root.ts';
import { type Bf16Tensor, tensorsFromBf16Safetensors } from '../node/model/safetensors.ts';
import { elementCount } from '../node/model/weights.ts';
import { toHex } from '../node/protocol/bytes.ts';
import { SwarmError } from '../node/protocol/errors.ts';
import type { WeightsSize } from './manifest.ts';

/** Exponent bits of a bf16: all set means infinite or NaN. */
const EXPONENT = 0x7f80;

/** What a file of this config's weights weighs in bf16. */
export function weightsSizeOf(config: ModelConfig): WeightsSize {
  const specs = requiredTensors(config);
  return { dataBytes: specs.reduce((sum, { shape }) => sum + 2 * elementCount(shape), 0), tensors: specs.length };
}

function checkTensors(config: ModelConfig, tensors: ReadonlyMap<string, Bf16Tensor>): void {
  const specs = requiredTensors(config);
  for (const { name, shape } of specs) {
    const found = tensors.get(name);
    if (found === undefined || found.shape.length !== shape.length || found.shape.some((d, i) => d !== shape[i])) {
      throw new SwarmError(
        'MODEL_TENSOR_MISMATCH',
        `tensor ${name} is missing or has another shape than the recipe's`,
        {
          tensor: name,
        },
      );
    }
    const { bits } = found;
    for (let i = 0; i < bits.length; i++) {
      if ((bits[i]! & EXPONENT) === EXPONENT) {
        throw new SwarmError('NON_FINITE_WEIGHT', `tensor ${name} holds a non-finite value; the policy is refused`, {
          tensor: name,
          index: i,
        });
      }
    }
  }
  if (tensors.size !== specs.length) {
    throw new SwarmError('MODEL_TENSOR_MISMATCH', `expected ${specs.length} tensors, got ${tensors.size}`);
  }
}

/**
 * Checks a whole weights file.
 * @returns its policyRoot in hex
 * @throws {SwarmError} MODEL_FILE_CORRUPT, MODEL_TENSOR_MISMATCH, NON_FINITE_WEIGHT
 */
export async function rootOfWeights(bytes: Uint8Array, config: ModelConfig): Promise<string> {
  const tensors = await tensorsFromBf16Safetensors(bytes);
  checkTensors(config, tensors);
  return toHex(policyRootOfBf16(tensors));
}

// All tensors of a safetensors file in memory.

import { safetensorsInMemory } from '../../node/model/safetensors.ts';
import type { Weights, WeightTensor } from '../../node/model/weights.ts';

/** As float32, exactly. @throws {SwarmError} MODEL_FILE_CORRUPT, UNSUPPORTED_MODEL (a dtype) */
export async function parseSafetensors(bytes: Uint8Array): Promise<Weights> {
  const file = await safetensorsInMemory(bytes);
  const weights = new Map<string, WeightTensor>();
  for (const entry of file.entries) weights.set(entry.name, await file.tensor(entry));
  return weights;
}

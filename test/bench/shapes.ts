// The model shapes that figures are about: the 5.6 M and the 135 M model that the issue names, and the starter's own.

import { type ModelConfig, requiredTensors } from '../../node/model/config.ts';
import { elementCount } from '../../node/model/weights.ts';
import { type RandomModel, randomModel } from '../support/random-model.ts';

const MEDIUM = {
  hiddenSize: 256,
  intermediateSize: 768,
  layers: 6,
  heads: 8,
  keyValueHeads: 8,
  headDim: 32,
  vocabSize: 2048,
  maxPositions: 512,
} as const;

/** d 256, 6 layers, 8 heads, ff 768, vocabulary 2048, tied head: 5.64 M parameters. */
export function mediumModel(): RandomModel {
  return randomModel(MEDIUM);
}

/** Its layers under Qwen2.5's vocabulary, which is then nearly all of the model: 44 M parameters. */
export function wideModel(): RandomModel {
  return randomModel({ ...MEDIUM, vocabSize: 151_936 });
}

/** d 128, 4 layers, 4 heads, ff 384, vocabulary 32, tied head: recipes/starter with random weights. */
export function starterModel(): RandomModel {
  return randomModel({
    hiddenSize: 128,
    intermediateSize: 384,
    layers: 4,
    heads: 4,
    keyValueHeads: 4,
    headDim: 32,
    vocabSize: 32,
    maxPositions: 128,
  });
}

/** SmolLM2-135M's: d 576, 30 layers, 9 heads over 3, ff 1536, vocabulary 49152, tied head; 134.5 M parameters. */
export function largeModel(): RandomModel {
  return randomModel({
    hiddenSize: 576,
    intermediateSize: 1536,
    layers: 30,
    heads: 9,
    keyValueHeads: 3,
    headDim: 64,
    vocabSize: 49_152,
    maxPositions: 2048,
  });
}

/** Qwen2.5-0.5B's: d 896, 24 layers, 14 heads over 2, ff 4864, vocabulary 151936, tied head, q k v biased; 494 M parameters. */
export function halfBillionModel(): RandomModel {
  return randomModel({
    architecture: 'Qwen2ForCausalLM',
    hiddenSize: 896,
    intermediateSize: 4864,
    layers: 24,
    heads: 14,
    keyValueHeads: 2,
    headDim: 64,
    vocabSize: 151_936,
    maxPositions: 2048,
  });
}

export function parameterCount(config: ModelConfig): number {
  return requiredTensors(config).reduce((sum, { shape }) => sum + elementCount(shape), 0);
}

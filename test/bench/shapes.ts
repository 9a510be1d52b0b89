// The model shapes that figures are about: the 5.6 M and the 135 M model that the issue names, and the starter's own.

import { type ModelConfig, requiredTensors } from '../../node/model/config.ts';
import { elementCount } from '../../node/model/weights.ts';
import { type RandomModel, randomModel } from '../support/random-model.ts';

/** d 256, 6 layers, 8 heads, ff 768, vocabulary 2048, tied head: 5.64 M parameters. */
export function mediumModel(): RandomModel {
  return randomModel({
    hiddenSize: 256,
    intermediateSize: 768,
    layers: 6,
    heads: 8,
    keyValueHeads: 8,
    headDim: 32,
    vocabSize: 2048,
    maxPositions: 512,
  });
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

export function parameterCount(config: ModelConfig): number {
  return requiredTensors(config).reduce((sum, { shape }) => sum + elementCount(shape), 0);
}

// Small models of any family, with any rotary scaling, heads, biases and tying, and batches for them: for properties.

import fc from 'fast-check';
import { FAMILIES } from '../../node/model/families.ts';
import { type RandomModel, randomModel } from './random-model.ts';

const ropeScaling = fc.oneof(
  fc.constant(null),
  fc.record({ rope_type: fc.constant('linear'), factor: fc.constantFrom(1, 2.5, 8) }),
  fc.record({
    rope_type: fc.constant('llama3'),
    factor: fc.constantFrom(2, 8),
    low_freq_factor: fc.constant(1),
    high_freq_factor: fc.constantFrom(2, 4),
    original_max_position_embeddings: fc.constantFrom(8, 32),
  }),
  fc.record({
    rope_type: fc.constant('yarn'),
    factor: fc.constantFrom(1.5, 4),
    original_max_position_embeddings: fc.constantFrom(8, 32),
    truncate: fc.boolean(),
  }),
);

/** Prints as its config.json. */
export const arbitraryModel: fc.Arbitrary<RandomModel & { toString(): string }> = fc
  .record({
    family: fc.constantFrom(...FAMILIES),
    ropeScaling,
    hiddenSize: fc.constantFrom(8, 12, 20),
    intermediateSize: fc.integer({ min: 1, max: 24 }),
    layers: fc.integer({ min: 1, max: 3 }),
    keyValueHeads: fc.integer({ min: 1, max: 3 }),
    group: fc.integer({ min: 1, max: 3 }),
    headDim: fc.constantFrom(4, 6, 8),
    vocabSize: fc.integer({ min: 8, max: 40 }),
    tiedHead: fc.boolean(),
    attentionBias: fc.boolean(),
    mlpBias: fc.boolean(),
    seed: fc.nat(),
  })
  .map(({ family, group, attentionBias, mlpBias, seed, ...shape }) => {
    const model = randomModel(
      {
        ...shape,
        architecture: family.architecture,
        heads: shape.keyValueHeads * group,
        attentionBias: attentionBias && family.attentionBias === 'field',
        mlpBias: mlpBias && family.mlpBias === 'field',
      },
      seed,
    );
    return { ...model, toString: () => `${model.configJson}, seed ${seed}` };
  });

/** Token ids below `vocabSize`, one to five sequences of one to `longest` tokens. */
export function arbitrarySequences(vocabSize: number, longest: number): fc.Arbitrary<number[][]> {
  const ids = fc.array(fc.nat(vocabSize - 1), { minLength: 1, maxLength: longest });
  return fc.array(ids, { minLength: 1, maxLength: 5 });
}

// The weights that learn, the sums of their gradients and AdamW's state of them: float32, all updated in place.
// With LoRA the adapters learn and the model's own weights stay as they came.
// Invariant: the arrays live as long as the engine, so sessions are fed from them without a copy.

import type { Weights } from '../../node/model/weights.ts';
import { SwarmError } from '../../node/protocol/errors.ts';
import type { Checkpoint, CheckpointMeta } from '../checkpoint.ts';
import { type LoraSettings, mergedTensor } from '../lora.ts';
import { type AdamwSettings, type AdamwState, adamwInit, adamwUpdate, type Parameter } from '../optim/adamw.ts';

export interface Learner {
  /** what learns */
  readonly parameters: readonly Parameter[];
  /** in their order */
  readonly gradients: readonly Float32Array[];
  /** what the graphs read beside it */
  readonly frozen: readonly Parameter[];
  optimizerStep(): number;
  /** One step along the gradients. @throws NON_FINITE_STEP when the rate is not finite; nothing changes then */
  step(settings: AdamwSettings, learningRate: number, scale: number): void;
  /** The model's own tensors as they stand, adapters merged; each until the next is asked for, since merging copies. */
  policy(): Iterable<Parameter>;
  checkpoint(meta: CheckpointMeta): Checkpoint;
  restore(checkpoint: Checkpoint): void;
}

const parametersOf = (weights: Weights): Parameter[] => [...weights].map(([name, tensor]) => ({ name, ...tensor }));

const named = (parameters: readonly Parameter[], arrays: readonly Float32Array[]): Weights =>
  new Map(parameters.map(({ name, shape }, index) => [name, { shape, data: arrays[index]! }]));

function copyInto(parameters: readonly Parameter[], arrays: readonly Float32Array[], from: Weights): void {
  for (const [index, { name, data }] of parameters.entries()) {
    const tensor = from.get(name);
    if (tensor?.data.length !== data.length) {
      throw new SwarmError(
        'CHECKPOINT_CORRUPT',
        `the checkpoint has no tensor ${name} of ${data.length} values: it belongs to another model, or to other LoRA settings`,
        { tensor: name },
      );
    }
    arrays[index]!.set(tensor.data);
  }
}

/** Takes over the arrays of `model`, and of `adapters` where there are some. */
export function createLearner(
  model: Weights,
  lora: { readonly settings: LoraSettings; readonly adapters: Weights } | null = null,
): Learner {
  const parameters = parametersOf(lora?.adapters ?? model);
  const state: AdamwState = adamwInit(parameters);
  const values = parameters.map(({ data }) => data);
  return {
    parameters,
    gradients: values.map(({ length }) => new Float32Array(length)),
    frozen: lora ? parametersOf(model) : [],
    optimizerStep: () => state.step,
    step(settings, learningRate, scale) {
      // With finite gradients, clipped, this is all that could make a weight NaN or infinite.
      if (!Number.isFinite(learningRate)) {
        throw new SwarmError(
          'NON_FINITE_STEP',
          `the learning rate of optimizer step ${state.step + 1} is ${learningRate}: the step was not taken`,
          { what: 'learningRate', step: state.step + 1 },
        );
      }
      adamwUpdate(state, parameters, this.gradients, settings, learningRate, scale);
    },
    *policy() {
      for (const [name, tensor] of model) {
        const merged = lora ? mergedTensor(name, tensor, lora.adapters, lora.settings) : tensor;
        yield { name, ...merged };
        // a copy goes at once, not when a collection comes round
        if (merged.data !== tensor.data) (merged.data.buffer as ArrayBuffer).transfer(0);
      }
    },
    checkpoint: (meta) => ({
      meta,
      optimizerStep: state.step,
      weights: named(parameters, values),
      firstMoments: named(parameters, state.first),
      secondMoments: named(parameters, state.second),
    }),
    restore(checkpoint) {
      copyInto(parameters, values, checkpoint.weights);
      copyInto(parameters, state.first, checkpoint.firstMoments);
      copyInto(parameters, state.second, checkpoint.secondMoments);
      state.step = checkpoint.optimizerStep;
    },
  };
}

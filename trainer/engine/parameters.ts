// The weights that learn and AdamW's state of them: float32 masters updated in place, with one step of memory to go back.
// Invariant: the arrays live as long as the engine, so sessions are fed from them without a copy.

import type { Weights } from '../../node/model/weights.ts';
import { SwarmError } from '../../node/protocol/errors.ts';
import type { Checkpoint, CheckpointMeta } from '../checkpoint.ts';
import { type AdamwSettings, type AdamwState, adamwInit, adamwUpdate, type Parameter } from '../optim/adamw.ts';

export interface Learner {
  readonly parameters: readonly Parameter[];
  optimizerStep(): number;
  /** @throws NON_FINITE_STEP when a weight would become NaN or infinite; nothing changes then */
  step(gradients: readonly Float32Array[], settings: AdamwSettings, learningRate: number, scale: number): void;
  undo(): void;
  checkpoint(meta: CheckpointMeta): Checkpoint;
  restore(checkpoint: Checkpoint): void;
}

interface Backup {
  readonly arrays: readonly Float32Array[];
  step: number | null;
}

/** Whether all values are finite: x·0 is 0 for those only, and a sum shows any NaN. */
function allFinite(values: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! * 0;
  return sum === 0;
}

const named = (parameters: readonly Parameter[], arrays: readonly Float32Array[]): Weights =>
  new Map(parameters.map(({ name, shape }, index) => [name, { shape, data: arrays[index]! }]));

function copyInto(parameters: readonly Parameter[], arrays: readonly Float32Array[], from: Weights): void {
  for (const [index, { name, data }] of parameters.entries()) {
    const tensor = from.get(name);
    if (tensor?.data.length !== data.length) {
      throw new SwarmError(
        'CHECKPOINT_CORRUPT',
        `the checkpoint has no tensor ${name} of ${data.length} values: it belongs to another model`,
        {
          tensor: name,
        },
      );
    }
    arrays[index]!.set(tensor.data);
  }
}

/**
 * Takes over the arrays of `weights`.
 * @param weights float32 masters; updated in place from here on
 */
export function createLearner(weights: Weights): Learner {
  const parameters: Parameter[] = [...weights].map(([name, { shape, data }]) => ({ name, shape, data }));
  const state: AdamwState = adamwInit(parameters);
  const live = [...parameters.map(({ data }) => data), ...state.first, ...state.second];
  const backup: Backup = { arrays: live.map((array) => new Float32Array(array.length)), step: null };
  const undo = (): void => {
    if (backup.step === null)
      throw new SwarmError(
        'NON_FINITE_STEP',
        'there is no step to take back: one step is remembered, until it is taken back',
      );
    for (const [index, array] of live.entries()) array.set(backup.arrays[index]!);
    state.step = backup.step;
    backup.step = null;
  };
  return {
    parameters,
    undo,
    optimizerStep: () => state.step,
    step(gradients, settings, learningRate, scale) {
      for (const [index, array] of live.entries()) backup.arrays[index]!.set(array);
      backup.step = state.step;
      adamwUpdate(state, parameters, gradients, settings, learningRate, scale);
      const broken = parameters.find(({ data }) => !allFinite(data));
      if (!broken) return;
      undo();
      throw new SwarmError(
        'NON_FINITE_STEP',
        `optimizer step ${state.step + 1} made ${broken.name} NaN or infinite and was undone: lower the learning rate`,
        {
          what: 'weight',
          tensor: broken.name,
        },
      );
    },
    checkpoint: (meta) => ({
      meta,
      optimizerStep: state.step,
      weights: named(parameters, live),
      firstMoments: named(parameters, state.first),
      secondMoments: named(parameters, state.second),
    }),
    restore(checkpoint) {
      copyInto(parameters, live, checkpoint.weights);
      copyInto(parameters, state.first, checkpoint.firstMoments);
      copyInto(parameters, state.second, checkpoint.secondMoments);
      state.step = checkpoint.optimizerStep;
      backup.step = null;
    },
  };
}

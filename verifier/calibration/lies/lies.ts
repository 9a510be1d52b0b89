// The lies that `murmur calibrate` tells, each in one line: what is run, sampled, drawn or written in place of what was asked for.
// Source: the negative controls of spec/rollouts.md "Limits have two sides". Told carelessly, claims are those of what
// was run; a forger adds true log-probs and proofs, and only its draws are left to betray it.

import type { Weights } from '../../../node/model/weights.ts';
import type { SamplingSettings } from '../../../node/protocol/ports.ts';
import { fineTuned, oneStepOld, quantised, shallower, unrelated } from './models.ts';

/** A model in memory: weights, and config.json's text. */
export interface LyingModel {
  readonly weights: Weights;
  readonly configJson: string;
}

/** What lies are made of. */
export interface LieMaterial {
  readonly policy: LyingModel;
  /** the policy one step before, if there is one; else one is made */
  readonly previous: LyingModel | null;
  /** the recipe's, for the step that is made */
  readonly learningRate: number;
}

interface Named {
  readonly name: string;
  readonly title: string;
}

export type Lie = Named &
  (
    | { readonly kind: 'model'; readonly model: (material: LieMaterial) => LyingModel }
    | { readonly kind: 'sampling'; readonly change: (asked: SamplingSettings) => Partial<SamplingSettings> }
    | { readonly kind: 'other-seed' | 'best-of-two' | 'edited-token' }
  );

/** Any seed: the same lie in every calibration. */
const SEED = 1;
/** Change of each matrix, as a share of its root mean square: a short fine-tuning. */
const FINE_TUNING = 0.03;
/** The cut of a liar whose recipe asks for none. */
const TOP_P = 0.9;

const changedWeights =
  (change: (weights: Weights, material: LieMaterial) => Weights) =>
  (material: LieMaterial): LyingModel => ({ ...material.policy, weights: change(material.policy.weights, material) });

/** All but the last layer. A model of one layer keeps it, and is no lie. */
function smaller({ policy }: LieMaterial): LyingModel {
  const { num_hidden_layers: layers } = JSON.parse(policy.configJson) as { readonly num_hidden_layers: number };
  return shallower(policy.weights, policy.configJson, Math.max(1, layers - 1));
}

export const LIES: readonly Lie[] = [
  {
    name: 'wrong-weights',
    title: 'other weights',
    kind: 'model',
    model: changedWeights((weights) => unrelated(weights, SEED)),
  },
  { name: 'smaller', title: 'one layer fewer', kind: 'model', model: smaller },
  {
    name: 'previous-step',
    title: 'the policy one step old',
    kind: 'model',
    model: (material) =>
      material.previous ??
      changedWeights((weights, { learningRate }) => oneStepOld(weights, learningRate, SEED))(material),
  },
  {
    name: 'int8',
    title: 'int8 weights',
    kind: 'model',
    model: changedWeights((weights) => quantised(weights, 8, null)),
  },
  { name: 'int4', title: 'int4 weights', kind: 'model', model: changedWeights((weights) => quantised(weights, 4, 32)) },
  {
    name: 'fine-tuned',
    title: 'a fine-tuned copy',
    kind: 'model',
    model: changedWeights((weights) => fineTuned(weights, FINE_TUNING, SEED)),
  },
  {
    name: 'warmer',
    title: 'temperature + 0.1',
    kind: 'sampling',
    change: ({ temperature }) => ({ temperature: temperature + 0.1 }),
  },
  {
    name: 'colder',
    title: 'temperature − 0.1',
    kind: 'sampling',
    change: ({ temperature }) => ({ temperature: Math.max(0.01, temperature - 0.1) }),
  },
  { name: 'greedy', title: 'greedy', kind: 'sampling', change: () => ({ topK: 1 }) },
  {
    name: 'other-top-p',
    title: `top-p off, or ${TOP_P} where it is off`,
    kind: 'sampling',
    change: ({ topP }) => ({ topP: topP < 1 ? 1 : TOP_P }),
  },
  { name: 'other-seed', title: 'another seed', kind: 'other-seed' },
  { name: 'best-of-two', title: 'the better of two tries', kind: 'best-of-two' },
  { name: 'edited-token', title: 'one token edited', kind: 'edited-token' },
];

// A policy without a model: logits and states are hashes of (weights, prefix). Generates and replays as the real engine does,
// with the reference sampler, so that checks meet the numbers of an honest or a dishonest run.

import { cutDistribution, logProbability, softmax } from '../../../node/model/sampling/distribution.ts';
import { createSampler, intervalOf } from '../../../node/model/sampling/draw.ts';
import { SwarmError } from '../../../node/protocol/errors.ts';
import type {
  GeneratedSequence,
  PolicyEngine,
  ReplayedSequence,
  SamplingSettings,
} from '../../../node/protocol/ports.ts';
import { uniforms } from '../../../node/protocol/seeds.ts';

export const HIDDEN_SIZE = 16;
export const MODEL_VOCABULARY = 40;

function mix(state: number, value: number): number {
  let x = Math.imul(state ^ value, 0x9e3779b1);
  x ^= x >>> 15;
  x = Math.imul(x, 0x85ebca6b);
  return (x ^ (x >>> 13)) >>> 0;
}

/** Logits and states of one set of made-up weights. */
export interface ScriptedPolicy {
  generate(prompt: Uint32Array, seed: Uint8Array, sampling: SamplingSettings): GeneratedSequence;
  replay(prompt: Uint32Array, tokens: Uint32Array, sampling: SamplingSettings): ReplayedSequence;
}

/**
 * @param weights which policy
 * @param drift how far each logit is off, in nats: another device's rounding, or nearly right weights
 */
export function scriptedPolicy(weights: string, drift = 0): ScriptedPolicy {
  const seed = [...weights].reduce((state, char) => mix(state, char.charCodeAt(0)), 7);
  const prefixOf = (prompt: Uint32Array): number => prompt.reduce(mix, seed);
  const logitsOf = (prefix: number, endTokens: readonly number[]): Float32Array =>
    Float32Array.from({ length: MODEL_VOCABULARY }, (_, id) => {
      const random = mix(prefix, id + 1000) / 2 ** 32;
      const wobble = (mix(prefix, id + 5000) / 2 ** 32 - 0.5) * 2 * drift;
      return 3 * random + wobble + (endTokens.includes(id) ? 1 : 0);
    });
  const stateOf = (prefix: number, into: Uint16Array, row: number): void => {
    for (let dim = 0; dim < HIDDEN_SIZE; dim++) {
      const bits = mix(prefix, dim + 9000);
      into[row * HIDDEN_SIZE + dim] = ((bits & 1) << 15) | (0x3e00 + (bits >>> 23));
    }
  };
  const statesOf = (prompt: Uint32Array, tokens: Uint32Array): Uint16Array => {
    const hidden = new Uint16Array(Math.max(0, tokens.length - 1) * HIDDEN_SIZE);
    let prefix = prefixOf(prompt);
    for (let t = 0; t + 1 < tokens.length; t++) {
      prefix = mix(prefix, tokens[t]!);
      stateOf(prefix, hidden, t);
    }
    return hidden;
  };

  return {
    generate(prompt, sequenceSeed, sampling) {
      const sampler = createSampler(sampling, sampling.tokenCount);
      const draws = uniforms(sequenceSeed, sampling.maxNewTokens);
      const tokens: number[] = [];
      const logprobs: number[] = [];
      let prefix = prefixOf(prompt);
      let finish: 'eos' | 'length' = 'length';
      while (tokens.length < sampling.maxNewTokens && finish === 'length') {
        const draw = sampler.draw(logitsOf(prefix, sampling.endTokens), draws[tokens.length]!);
        tokens.push(draw.token);
        logprobs.push(draw.logprob);
        prefix = mix(prefix, draw.token);
        if (sampling.endTokens.includes(draw.token)) finish = 'eos';
      }
      const list = Uint32Array.from(tokens);
      return { tokens: list, logprobs: Float32Array.from(logprobs), finish, hidden: statesOf(prompt, list) };
    },
    replay(prompt, tokens, sampling) {
      const n = tokens.length;
      const out = { logprobs: new Float32Array(n), below: new Float64Array(n), upTo: new Float64Array(n) };
      let prefix = prefixOf(prompt);
      tokens.forEach((token, t) => {
        const logits = logitsOf(prefix, sampling.endTokens);
        const p = cutDistribution(softmax(logits, sampling.temperature, sampling.tokenCount), sampling);
        const { below, upTo } = intervalOf(p, token);
        out.logprobs[t] = logProbability(logits, sampling.temperature, sampling.tokenCount, token);
        out.below[t] = below;
        out.upTo[t] = upTo;
        prefix = mix(prefix, token);
      });
      return { ...out, alternatives: [], hidden: statesOf(prompt, tokens) };
    },
  };
}

/** The engine port over scripted policies. */
export interface ScriptedEngine extends PolicyEngine {
  /** sequences of each replay call, in order */
  readonly replays: { readonly policyRoot: string; readonly sequences: number }[];
  /** called before each replay; may throw or wait */
  beforeReplay: () => void | Promise<void>;
}

/** @param policyOf the weights behind a root */
export function scriptedEngine(policyOf: (policyRoot: string) => ScriptedPolicy): ScriptedEngine {
  const loaded = new Set<string>();
  const check = (root: string): void => {
    if (!loaded.has(root)) throw new SwarmError('POLICY_NOT_LOADED', 'load it first', { root });
  };
  const engine: ScriptedEngine = {
    replays: [],
    beforeReplay: () => undefined,
    async load(files) {
      loaded.add(files.policyRoot);
      return { parameters: 1 };
    },
    unload: async (root) => void loaded.delete(root),
    async generate(root, sampling, groups) {
      check(root);
      const policy = policyOf(root);
      return groups.map(({ prompt, sequenceSeeds }) =>
        sequenceSeeds.map((seed) => policy.generate(prompt, seed, sampling)),
      );
    },
    async replay(root, sampling, sequences) {
      await engine.beforeReplay();
      check(root);
      engine.replays.push({ policyRoot: root, sequences: sequences.length });
      const policy = policyOf(root);
      return sequences.map(({ prompt, tokens }) => policy.replay(prompt, tokens, sampling));
    },
    close: async () => loaded.clear(),
  };
  return engine;
}

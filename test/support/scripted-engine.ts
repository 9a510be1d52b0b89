// A policy engine whose tokens are a pure function of policy root and sequence seed: for tests of what is around it.

import { sha256 } from '../../node/protocol/bytes.ts';
import { SwarmError } from '../../node/protocol/errors.ts';
import type { GeneratedSequence, PolicyEngine, ReplayedSequence, SamplingSettings } from '../../node/protocol/ports.ts';

export interface ScriptedEngine extends PolicyEngine {
  readonly loaded: Set<string>;
  /** what was asked, in order: `load <root>`, `generate <root> <groups>`, `replay <root> <sequences>` */
  readonly log: string[];
  /** called first in every generate and replay; may throw or wait */
  before: (call: string) => void | Promise<void>;
}

/** Some tokens and an end token, from a hash. */
function script(
  policyRoot: string,
  seed: Uint8Array,
  sampling: SamplingSettings,
  hiddenSize: number,
): GeneratedSequence {
  const hash = sha256(policyRoot, seed);
  const ends = hash[0]! % 4 !== 0;
  const count = ends ? 1 + (hash[1]! % Math.min(5, sampling.maxNewTokens)) : sampling.maxNewTokens;
  const tokens = Uint32Array.from({ length: count }, (_, t) => {
    let token = hash[(2 + t) % 32]! % sampling.tokenCount;
    while (sampling.endTokens.includes(token)) token = (token + 1) % sampling.tokenCount;
    return token;
  });
  if (ends) tokens[count - 1] = sampling.endTokens[0]!;
  return {
    tokens,
    logprobs: Float32Array.from(tokens, (_, t) => -0.1 * (1 + (t % 3))),
    finish: ends ? 'eos' : 'length',
    hidden: new Uint16Array((count - 1) * hiddenSize).map((_, i) => 0x3f80 + ((i * 7 + hash[3]!) % 128)),
  };
}

export function scriptedEngine(hiddenSize: number): ScriptedEngine {
  const loaded = new Set<string>();
  const log: string[] = [];
  const need = (policyRoot: string): void => {
    if (!loaded.has(policyRoot)) throw new SwarmError('POLICY_NOT_LOADED', 'load it first');
  };
  const engine: ScriptedEngine = {
    loaded,
    log,
    before: () => undefined,
    async load({ policyRoot }) {
      log.push(`load ${policyRoot}`);
      loaded.add(policyRoot);
      return { parameters: 1 };
    },
    async unload(policyRoot) {
      loaded.delete(policyRoot);
    },
    async generate(policyRoot, sampling, groups, signal) {
      log.push(`generate ${policyRoot} ${groups.length}`);
      await engine.before('generate');
      if (signal?.aborted === true) throw new SwarmError('INTERRUPTED', 'stopped');
      need(policyRoot);
      return groups.map(({ sequenceSeeds }) =>
        sequenceSeeds.map((seed) => script(policyRoot, seed, sampling, hiddenSize)),
      );
    },
    async replay(policyRoot, _sampling, sequences) {
      log.push(`replay ${policyRoot} ${sequences.length}`);
      await engine.before('replay');
      need(policyRoot);
      return sequences.map(
        ({ tokens }): ReplayedSequence => ({
          logprobs: Float32Array.from(tokens, (_, t) => -0.1 * (1 + (t % 3))),
          below: new Float64Array(tokens.length),
          upTo: new Float64Array(tokens.length).fill(1),
          alternatives: [],
          hidden: new Uint16Array(Math.max(0, tokens.length - 1) * hiddenSize),
        }),
      );
    },
    close: async () => undefined,
  };
  return engine;
}

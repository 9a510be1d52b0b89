// The policies a worker holds. Weights count against a budget and the least recently used leave; where a policy's files
// lie is remembered, so that one that left comes back by itself. Sessions belong to a config, not to a policy: weights
// are inputs, and changing policy builds nothing; only longer sequences than any before have graphs built for them.

import { SwarmError } from '../../protocol/errors.ts';
import type { PolicyFiles } from '../../protocol/ports.ts';
import { roundToBf16InPlace } from '../bf16.ts';
import { graphKey, type ModelConfig, parseModelConfig } from '../config.ts';
import { loadWeightsFile } from '../folder.ts';
import { forTokens, tablePositions } from '../llama/positions.ts';
import { policyRoot } from '../policy-root.ts';
import { parseJson } from '../small-files.ts';
import { parameterCount, type Weights, type WeightTensor } from '../weights.ts';
import { createDecoder, type Decoder } from './decoder.ts';
import type { AlterWeights, EngineLimits } from './messages.ts';
import { planEngine } from './plan.ts';
import { createReplayer, type Replayer } from './replayer.ts';
import { type Tensors, weightFeeds } from './session.ts';

/** What runs one config, whichever policy. */
export interface ConfigRunner {
  readonly decoder: Decoder;
  readonly replayer: Replayer;
}

/** A policy that is in memory. */
export interface LoadedPolicy {
  readonly config: ModelConfig;
  readonly feeds: Tensors;
  readonly parameters: number;
}

export interface Policies {
  /** @throws {SwarmError} ROOT_MISMATCH, OUT_OF_MEMORY_BUDGET, and as `loadWeightsFile` */
  load(files: PolicyFiles, alter: AlterWeights | null): Promise<LoadedPolicy>;
  unload(root: string): void;
  /** From memory, or from its files again. @throws {SwarmError} POLICY_NOT_LOADED */
  use(root: string): Promise<LoadedPolicy>;
  /** @param tokens of the longest sequence that is to be run: prompt and completion */
  runner(config: ModelConfig, tokens: number): Promise<ConfigRunner>;
  dispose(): Promise<void>;
}

interface Known {
  readonly files: PolicyFiles;
  readonly alter: AlterWeights | null;
}

/** Two normal numbers from a 32-bit state (mulberry32, Box–Muller): equal on every machine, and never for secrets. */
function gaussians(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Weights with Gaussian noise of `scale` times each tensor's root mean square. */
export function alteredWeights(weights: Weights, { seed, scale }: AlterWeights): Weights {
  const next = gaussians(seed);
  const altered = new Map<string, WeightTensor>();
  for (const [name, { shape, data }] of weights) {
    let squares = 0;
    for (const value of data) squares += value * value;
    const spread = scale * Math.sqrt(squares / data.length);
    altered.set(name, { shape, data: data.map((value) => value + spread * next()) });
  }
  return altered;
}

/** Reads a policy's weights, which must be the policy that they are called. */
async function readPolicy({ files, alter }: Known): Promise<LoadedPolicy> {
  const { config, weights } = await loadWeightsFile(files.configJson, files.weightsFile);
  const root = Buffer.from(policyRoot(weights)).toString('hex');
  if (root !== files.policyRoot) {
    throw new SwarmError(
      'ROOT_MISMATCH',
      `The weights file holds policy ${root}, not ${files.policyRoot}. Fetch it again.`,
      {
        expected: files.policyRoot,
        found: root,
      },
    );
  }
  roundToBf16InPlace(weights);
  const used = alter === null ? weights : alteredWeights(weights, alter);
  return { config, feeds: weightFeeds(used), parameters: parameterCount(used) };
}

/** The policies of one worker. */
export function createPolicies(limits: EngineLimits): Policies {
  const known = new Map<string, Known>();
  /** in order of use, the most recent last */
  const loaded = new Map<string, LoadedPolicy>();
  const runners = new Map<string, { readonly positions: number; readonly built: Promise<ConfigRunner> }>();
  const bytesOf = ({ parameters }: LoadedPolicy): number => parameters * Float32Array.BYTES_PER_ELEMENT;

  /** Before a byte is read: the config says how large its weights are. */
  const checkFits = ({ configJson }: PolicyFiles): void => {
    const config = parseModelConfig(parseJson(configJson, 'config.json'));
    const { policyBytes: bytes, weightsBytes: budget } = planEngine(config, limits);
    if (bytes <= budget) return;
    throw new SwarmError(
      'OUT_OF_MEMORY_BUDGET',
      `The weights need ${bytes} bytes, the engine may use ${budget} for weights; raise its memory.`,
      { bytes, budget },
    );
  };

  const keep = (root: string, policy: LoadedPolicy): LoadedPolicy => {
    loaded.delete(root);
    loaded.set(root, policy);
    const { weightsBytes } = planEngine(policy.config, limits);
    let total = 0;
    for (const each of loaded.values()) total += bytesOf(each);
    for (const [oldest, each] of loaded) {
      if (total <= weightsBytes) break;
      loaded.delete(oldest);
      total -= bytesOf(each);
    }
    return policy;
  };

  const buildRunner = async (config: ModelConfig): Promise<ConfigRunner> => {
    const init = { ...limits, ...planEngine(config, limits) };
    return { decoder: await createDecoder(config, init), replayer: createReplayer(config, init) };
  };

  const disposeRunner = async ({ decoder, replayer }: ConfigRunner): Promise<void> => {
    await decoder.dispose();
    await replayer.dispose();
  };

  return {
    load: async (files, alter) => {
      checkFits(files);
      const policy = await readPolicy({ files, alter });
      known.set(files.policyRoot, { files, alter });
      return keep(files.policyRoot, policy);
    },
    unload: (root) => {
      known.delete(root);
      loaded.delete(root);
    },
    use: async (root) => {
      const here = loaded.get(root);
      if (here !== undefined) return keep(root, here);
      const files = known.get(root);
      if (files === undefined) {
        throw new SwarmError('POLICY_NOT_LOADED', `Policy ${root} is not loaded; load it first.`, { policyRoot: root });
      }
      return keep(root, await readPolicy(files));
    },
    runner: async (config, tokens) => {
      const key = graphKey(config);
      const existing = runners.get(key);
      const positions = tablePositions(config, tokens);
      if (existing !== undefined && existing.positions >= positions) return existing.built;
      if (existing !== undefined) await disposeRunner(await existing.built);
      const built = buildRunner(forTokens(config, tokens));
      runners.set(key, { positions, built });
      built.catch(() => runners.delete(key));
      return built;
    },
    dispose: async () => {
      for (const { built } of runners.values()) await disposeRunner(await built);
      runners.clear();
      loaded.clear();
      known.clear();
    },
  };
}

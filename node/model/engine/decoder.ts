// Batched generation with any policy of one config: several groups in flight, a prompt read once for its whole group.
// Knows token ids and nothing else. What happens step by step is in batch.ts.

import { SwarmError } from '../../protocol/errors.ts';
import type { GeneratedSequence } from '../../protocol/ports.ts';
import type { ModelConfig } from '../config.ts';
import type { Placement } from '../device.ts';
import { buildAppendRowsGraph } from '../llama/append-rows.ts';
import type { BuiltGraph } from '../llama/built-graph.ts';
import { buildCompletionGraph } from '../llama/completion.ts';
import { buildDecodeGraph, type CacheKeeper } from '../llama/decode.ts';
import type { NextTokenOutput } from '../llama/next-token.ts';
import { checkPositions } from '../llama/positions.ts';
import { buildPrefillGraph } from '../llama/prefill.ts';
import { DecodeBatch, type DecodeJob, isTurn } from './batch.ts';
import { createDeviceCache, createHostCache, type DecodeCache, keptOnDevice } from './decode-cache.ts';
import { createDrawing } from './drawing.ts';
import { rowBudget } from './plan.ts';
import { createGraphSession, type GraphSession, type WeightsBinding } from './session.ts';

export interface DecoderInit extends Placement {
  /** whether the decode graph may hold a copy of a policy's weights for itself; default: fed */
  readonly binding?: WeightsBinding;
  /** bytes that the key/value cache may take */
  readonly cacheBytes: number;
  /** bytes that one prefill pass's activations may take, by a rough count */
  readonly activationBytes: number;
}

/** Generates with any policy of one config: the weights are inputs. */
export interface Decoder {
  /** @returns for each group, for each seed, its sequence. @throws {SwarmError} MALFORMED, TOO_LARGE, OUT_OF_MEMORY_BUDGET, INTERRUPTED, ENGINE_FAILED */
  generate(job: DecodeJob): Promise<GeneratedSequence[][]>;
  dispose(): Promise<void>;
}

/** Checks a prompt before any of it reaches a session. @throws {SwarmError} MALFORMED, TOO_LARGE */
export function checkTokens(config: ModelConfig, tokens: Uint32Array, totalTokens: number): void {
  const wrong = tokens.findIndex((id) => id >= config.vocabSize);
  if (tokens.length === 0 || wrong >= 0) {
    throw new SwarmError('MALFORMED', `A prompt needs at least one token, all ids below ${config.vocabSize}.`, {
      tokens: tokens.length,
    });
  }
  checkPositions(config, totalTokens);
}

/** Tokens at the beginning of a prompt that are there already; its last one is always read, for what follows it. */
function sharedTokens(held: readonly number[], prompt: Uint32Array): number {
  const most = Math.min(held.length, prompt.length - 1);
  let count = 0;
  while (count < most && held[count] === prompt[count]) count++;
  return count;
}

/** A decoder of one config: its sessions run whichever policy. */
export async function createDecoder(config: ModelConfig, init: DecoderInit): Promise<Decoder> {
  const keeper: CacheKeeper = init.device === 'webgpu' ? 'device' : 'host';
  const open = (graph: BuiltGraph, binding: WeightsBinding, kept: 'next' | 'fresh'): Promise<GraphSession> =>
    createGraphSession(graph, init, binding, keeper === 'device' ? keptOnDevice(config, kept) : []);
  const prefill = await open(buildPrefillGraph(config, { hidden: false, caches: true }), 'fed', 'fresh');
  const append = keeper === 'device' ? await open(buildAppendRowsGraph(config), 'fed', 'next') : null;
  const decodes = new Map<NextTokenOutput, Promise<GraphSession>>();
  const decodeFor = (output: NextTokenOutput): Promise<GraphSession> => {
    const known = decodes.get(output);
    if (known !== undefined) return known;
    const created = open(buildDecodeGraph(config, output, keeper), init.binding ?? 'fed', 'next');
    decodes.set(output, created);
    return created;
  };
  let reader: Promise<GraphSession> | null = null;
  const continued = (): Promise<GraphSession> => {
    reader ??= open(buildCompletionGraph(config, 'caches'), 'fed', 'fresh');
    return reader;
  };
  /** of the last call, for the next */
  let spare: DecodeCache | null = null;
  /** what `spare` holds of a turn, by which policy */
  let held: { readonly weights: DecodeJob['weights']; readonly tokens: readonly number[] } | null = null;
  const takeCache = (rows: number, tokens: number, job: DecodeJob): { cache: DecodeCache; kept: number } => {
    const made = (): DecodeCache =>
      append === null ? createHostCache(config, rows, tokens) : createDeviceCache(config, append);
    const shared = held?.weights === job.weights && isTurn(job) ? sharedTokens(held.tokens, job.groups[0]!.prompt) : 0;
    const cache = spare ?? made();
    spare = held = null;
    return { cache, kept: cache.restart(rows, tokens, shared) };
  };
  return {
    generate: async (job) => {
      const { maxNewTokens } = job.sampling;
      let longest = 0;
      for (const { prompt } of job.groups) {
        checkTokens(config, prompt, prompt.length + maxNewTokens);
        longest = Math.max(longest, prompt.length);
      }
      if (job.groups.length === 0) return [];
      const maxTokens = longest + maxNewTokens;
      const sequences = job.groups.reduce((sum, { sequenceSeeds }) => sum + sequenceSeeds.length, 0);
      const budget = Math.max(1, Math.min(rowBudget(config, maxTokens, init).rows, sequences));
      const drawing = createDrawing(config, job.sampling);
      const decode = await decodeFor(drawing.output);
      const { cache, kept } = takeCache(budget, maxTokens, job);
      const sessions = { decode, drawing, prefill, continued, activationBytes: init.activationBytes };
      const batch = new DecodeBatch(config, sessions, job, cache, budget, kept);
      try {
        return await batch.run();
      } finally {
        spare = cache;
        held = { weights: job.weights, tokens: batch.read };
      }
    },
    dispose: async () => {
      for (const decode of decodes.values()) await (await decode).dispose();
      spare?.dispose();
      spare = null;
      await append?.dispose();
      await (await reader)?.dispose();
      await prefill.dispose();
    },
  };
}

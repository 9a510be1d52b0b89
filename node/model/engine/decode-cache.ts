// Where the keys and values of a decode batch lie between its steps, as the batch sees it. On the CPU the host owns them and
// feeds them without a copy; on a GPU they stay there, and what moves rows is an index that each step reads.

import type { Tensor } from 'onnxruntime-node';
import { SwarmError } from '../../protocol/errors.ts';
import type { ModelConfig } from '../config.ts';
import { CACHE_ROWS, cacheNames } from '../llama/decode.ts';
import { inGpuTurn } from './gpu-turns.ts';
import { bucketFor, createKeyValueCache } from './kv-cache.ts';
import { floatsOf, floatTensor, type GraphSession, intTensor, type Tensors } from './session.ts';

/** A prompt that a prefill has read, all but its last token. */
export interface ReadPrompt {
  /** row of the batch that it belongs to */
  readonly at: number;
  /** its row in the prefill's outputs */
  readonly row: number;
  readonly tokens: number;
  /** tokens that its row of the batch has before these; default 0. On the host only. */
  readonly behind?: number;
}

export interface DecodeCache {
  /**
   * Starts anew with room for `rows` rows of `tokens` tokens: empty, or on the host with the first `kept` tokens of the first row.
   * @returns how many it kept
   */
  restart(rows: number, tokens: number, kept?: number): number;
  /** Lets rows hold `tokens` tokens, keeping the first `used` rows. */
  reserve(tokens: number, used: number): void;
  /** Takes prompts out of a prefill's outputs, each padded to `width` tokens. */
  fill(prompts: readonly ReadPrompt[], outputs: Tensors, width: number): Promise<void>;
  /** What a step of the first `count` rows reads. */
  feeds(count: number): Tensors;
  /** Takes what such a step gave; row k had `lengths[k]` tokens. */
  accept(outputs: Tensors, lengths: Int32Array): void;
  /** Makes the first `tokens` tokens of a row those of another too. */
  copyRow(from: number, to: number, tokens: number): void;
  dispose(): void;
}

/** Names of one layer's keys, then of its values. */
const pairs = (layers: number) =>
  Array.from({ length: layers }, (_, layer) => {
    const { key, value, newKey, newValue, nextKey, nextValue } = cacheNames(layer);
    return [
      { layer, kind: 'keys', cache: key, fresh: newKey, next: nextKey },
      { layer, kind: 'values', cache: value, fresh: newValue, next: nextValue },
    ] as const;
  }).flat();

/** A cache in the host's memory. */
export function createHostCache(config: ModelConfig, rows: number, tokens: number): DecodeCache {
  const { layers, keyValueHeads, headDim } = config;
  const store = createKeyValueCache(config, rows, tokens);
  const names = pairs(layers);
  /** as good until rows or capacity change */
  let fed: { readonly count: number; readonly capacity: number; readonly tensors: Tensors } | null = null;
  return {
    restart(newRows, newTokens, kept = 0) {
      store.restart(newRows, newTokens, kept);
      fed = null;
      return kept;
    },
    reserve: store.reserve,
    async fill(prompts, outputs, width) {
      for (const { layer, kind, fresh } of names) {
        const data = floatsOf(outputs, fresh);
        for (const { at, row, tokens: count, behind } of prompts) {
          store.fill(kind, layer, at, { data, row, width }, count, behind);
        }
      }
    },
    feeds(count) {
      const { capacity } = store;
      if (fed?.count !== count || fed.capacity !== capacity) {
        const shape = [count, keyValueHeads, capacity, headDim];
        const tensors = names.map(({ layer, kind, cache }) => [cache, floatTensor(store[kind](layer, count), shape)]);
        fed = { count, capacity, tensors: Object.fromEntries(tensors) as Tensors };
      }
      return fed.tensors;
    },
    accept(outputs, lengths) {
      for (const { layer, kind, fresh } of names) store.append(kind, layer, floatsOf(outputs, fresh), lengths);
    },
    copyRow: store.copyRow,
    dispose: () => undefined,
  };
}

/** Outputs of a decode graph (`next`) or of a prefill (`fresh`) that have to stay on the device for its cache. */
export function keptOnDevice(config: ModelConfig, which: 'next' | 'fresh'): readonly string[] {
  return pairs(config.layers).map((names) => names[which]);
}

/** Frees what lies in a device's memory. */
function letGo(tensors: readonly Tensor[]): void {
  const onDevice = tensors.filter(({ location }) => location !== 'cpu');
  if (onDevice.length === 0) return;
  inGpuTurn(() => {
    for (const tensor of onDevice) tensor.dispose();
  });
}

/**
 * A cache that stays where the sessions run. Its capacity is that of the longest sequence from the start: growing would
 * move it all.
 * @param append of buildAppendRowsGraph, its outputs kept on the device
 */
export function createDeviceCache(config: ModelConfig, append: GraphSession): DecodeCache {
  const { layers, keyValueHeads, headDim } = config;
  const names = pairs(layers);
  let capacity = 0;
  let held: Record<string, Tensor> = {};
  let heldRows = 0;
  /** the held row that each row of the batch reads */
  let rows: number[] = [];
  const dispose = (): void => {
    letGo(Object.values(held));
    held = {};
  };
  const take = (outputs: Tensors, count: number): void => {
    dispose();
    held = Object.fromEntries(names.map(({ cache, next }) => [cache, outputs[next]!]));
    heldRows = count;
  };
  return {
    restart(_rows, tokens) {
      dispose();
      capacity = bucketFor(tokens);
      // One row of zeros, which rows without a token may read.
      const zeros = floatTensor(new Float32Array(keyValueHeads * capacity * headDim), [
        ...[1, keyValueHeads, capacity, headDim],
      ]);
      for (const { cache } of names) held[cache] = zeros;
      heldRows = 1;
      rows = [];
      return 0;
    },
    reserve(tokens) {
      if (tokens > capacity) throw new SwarmError('INTERNAL', `a cache of ${capacity} tokens is asked for ${tokens}`);
    },
    async fill(prompts, outputs, width) {
      if (width > capacity) throw new SwarmError('INTERNAL', `a cache of ${capacity} tokens is asked for ${width}`);
      const fresh = names.map((name) => [name.fresh, outputs[name.fresh]!] as const);
      const before = heldRows;
      const count = fresh[0]![1].dims[0]!;
      take(await append.run({ ...held, ...Object.fromEntries(fresh) }), before + count);
      letGo(fresh.map(([, tensor]) => tensor));
      for (const { at, row } of prompts) rows[at] = before + row;
    },
    feeds(count) {
      const index = Int32Array.from({ length: count }, (_, k) => rows[k] ?? 0);
      return { ...held, [CACHE_ROWS]: intTensor(index, [count]) };
    },
    accept(outputs, lengths) {
      take(outputs, lengths.length);
      rows = [...lengths.keys()];
    },
    copyRow(from, to) {
      rows[to] = rows[from] ?? 0;
    },
    dispose,
  };
}

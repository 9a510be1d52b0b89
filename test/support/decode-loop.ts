// The least host of a decode graph: a cache of fixed size that the new rows are written into. For tests and measuring.

import * as ort from 'onnxruntime-node';
import type { ModelConfig } from '../../node/model/config.ts';
import { cacheNames } from '../../node/model/llama/decode.ts';
import type { Weights } from '../../node/model/weights.ts';
import type { Results } from './run-graph.ts';

export function weightFeeds(weights: Weights): Record<string, ort.Tensor> {
  return Object.fromEntries(
    [...weights].map(([name, { data, shape }]) => [name, new ort.Tensor('float32', data, shape)]),
  );
}

export interface DecodeLoop {
  /** rows in the cache of each sequence; may be set */
  readonly lengths: Int32Array;
  /** One token a sequence; where `active` is false, the sequence's cache stays as it is. */
  step(ids: readonly number[], active?: readonly boolean[]): Promise<Results>;
  /** puts rows [tokens, headDim] a head of one layer and sequence into the cache, from row 0 on */
  readonly caches: readonly Float32Array[];
}

export function decodeLoop(
  runner: ort.InferenceSession,
  config: ModelConfig,
  weights: Weights,
  batch: number,
  capacity: number,
): DecodeLoop {
  const { keyValueHeads, headDim, layers } = config;
  const shape = [batch, keyValueHeads, capacity, headDim];
  const lengths = new Int32Array(batch);
  const feeds = weightFeeds(weights);
  const writes: { readonly output: string; readonly cache: Float32Array }[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const names = cacheNames(layer);
    for (const [input, output] of [
      [names.key, names.newKey],
      [names.value, names.newValue],
    ] as const) {
      const cache = new Float32Array(batch * keyValueHeads * capacity * headDim);
      feeds[input] = new ort.Tensor('float32', cache, shape);
      writes.push({ output, cache });
    }
  }
  const write = (results: Results, active: readonly boolean[] | undefined): void => {
    for (const { output, cache } of writes) {
      const rows = results[output]!.data as Float32Array;
      for (let head = 0; head < batch * keyValueHeads; head++) {
        const sequence = Math.floor(head / keyValueHeads);
        if (active && !active[sequence]) continue;
        const at = (head * capacity + lengths[sequence]!) * headDim;
        cache.set(rows.subarray(head * headDim, (head + 1) * headDim), at);
      }
    }
    for (let k = 0; k < batch; k++) if (!active || active[k]) lengths[k]!++;
  };
  return {
    lengths,
    caches: writes.map(({ cache }) => cache),
    async step(ids, active) {
      const results = await runner.run({
        ...feeds,
        input_ids: new ort.Tensor('int32', Int32Array.from(ids), [batch]),
        lengths: new ort.Tensor('int32', lengths.slice(), [batch]),
      });
      write(results, active);
      return results;
    },
  };
}

// Models that a liar runs instead of the policy, made of it: fewer bits, fewer layers, yesterday's weights, a fine-tuned copy.

import { fromBf16Bits, toBf16Bits } from '../../../node/model/bf16.ts';
import type { Weights, WeightTensor } from '../../../node/model/weights.ts';
import { sha256, u32be } from '../../../node/protocol/bytes.ts';
import { uniformStream } from '../../../node/protocol/seeds.ts';

type Change = (name: string, tensor: WeightTensor) => Float32Array;

/** Uniform numbers in [0, 1), the same everywhere for the same seed (u32). */
function randomNumbers(seed: number): () => number {
  const stream = uniformStream(sha256('murmuration/lying-model/1', u32be(seed, 'seed')));
  return () => stream.next();
}

function changed(weights: Weights, change: Change): Weights {
  return new Map([...weights].map(([name, tensor]) => [name, { shape: tensor.shape, data: change(name, tensor) }]));
}

/** Another model of the same shape: uniform numbers of each tensor's root mean square, norms kept. */
export function unrelated(weights: Weights, seed: number): Weights {
  const random = randomNumbers(seed);
  return changed(weights, (_name, { shape, data }) => {
    if (shape.length < 2) return data;
    const spread = Math.sqrt((3 * data.reduce((sum, value) => sum + value * value, 0)) / data.length);
    return data.map(() => spread * (2 * random() - 1));
  });
}

/** Matrices rounded to signed integers of `bits` bits, one scale for each run of `block` values (a row when null). Norms stay. */
export function quantised(weights: Weights, bits: number, block: number | null): Weights {
  const largest = 2 ** (bits - 1) - 1;
  return changed(weights, (_name, { shape, data }) => {
    if (shape.length < 2) return data;
    const width = block ?? shape.at(-1)!;
    const out = new Float32Array(data.length);
    for (let from = 0; from < data.length; from += width) {
      const run = data.subarray(from, from + width);
      const scale = run.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / largest;
      run.forEach((value, i) => {
        out[from + i] = scale === 0 ? 0 : Math.round(value / scale) * scale;
      });
    }
    return out;
  });
}

/** The policy before one Adam step of `learningRate`: masters within half a bf16 unit of the weights, each moved by it. */
export function oneStepOld(weights: Weights, learningRate: number, seed: number): Weights {
  const random = randomNumbers(seed);
  return changed(weights, (_name, { data }) => {
    const masters = data.map((value) => {
      const unit = 2 ** (Math.floor(Math.log2(Math.abs(value) || 1e-8)) - 7);
      return value + unit * (random() - 0.5) + (random() < 0.5 ? learningRate : -learningRate);
    });
    return fromBf16Bits(toBf16Bits(masters));
  });
}

/** A copy with a low-rank change of each matrix, `share` of its root mean square. */
export function fineTuned(weights: Weights, share: number, seed: number): Weights {
  const random = randomNumbers(seed);
  return changed(weights, (_name, { shape, data }) => {
    if (shape.length < 2) return data;
    const width = shape.at(-1)!;
    const rms = Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length);
    const column = Float32Array.from({ length: data.length / width }, () => 2 * random() - 1);
    const row = Float32Array.from({ length: width }, () => 2 * random() - 1);
    return data.map((value, i) => value + 3 * share * rms * column[Math.floor(i / width)]! * row[i % width]!);
  });
}

/** The first `layers` layers alone. @returns the weights, and config.json's text to go with them */
export function shallower(
  weights: Weights,
  configJson: string,
  layers: number,
): { readonly weights: Weights; readonly configJson: string } {
  const layerOf = (name: string): number => Number(/layers\.(\d+)\./.exec(name)?.[1] ?? -1);
  return {
    weights: new Map([...weights].filter(([name]) => layerOf(name) < layers)),
    configJson: JSON.stringify({ ...(JSON.parse(configJson) as object), num_hidden_layers: layers }),
  };
}

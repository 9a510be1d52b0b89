// Rotary angles as transformers computes them, scalings included, in its own precision: frequencies and angles are
// float32 there, so at position 8000 exact ones would differ by up to 4e-4 from what a model was trained with.
// Source: transformers 5.23 modeling_rope_utils.py (_compute_{linear_scaling,llama3,yarn}_…), arXiv 2309.00071 (YaRN).
// cos and sin of them are worked out in float64 by the caller, since GPUs' cos is coarse.

import type { ModelConfig } from '../config.ts';
import type { RopeScaling } from '../rope-scaling.ts';

type Scaling<Kind extends RopeScaling['kind']> = Extract<RopeScaling, { readonly kind: Kind }>;

const { fround, PI } = Math;

/** theta^(2i/headDim), float32: pair i turns once in 2π times as many positions */
function wavelengths({ headDim, ropeTheta }: ModelConfig): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => ropeTheta ** fround((2 * i) / headDim));
}

/** Slow pairs are divided by the factor, quick ones kept, those between interpolated. */
function llama3(inverse: Float32Array, scaling: Scaling<'llama3'>): Float32Array {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalMaxPositions } = scaling;
  return inverse.map((frequency) => {
    const turns = originalMaxPositions / fround((2 * PI) / frequency);
    if (turns < low) return frequency / factor;
    if (turns > high) return frequency;
    const smooth = (turns - low) / (high - low);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}

/** Pairs that turn more than betaFast times are kept, less than betaSlow times divided by the factor, a ramp between. */
function yarn(inverse: Float32Array, config: ModelConfig, scaling: Scaling<'yarn'>): Float32Array {
  const { headDim, ropeTheta } = config;
  const dimensionOf = (turns: number): number =>
    (headDim * Math.log(scaling.originalMaxPositions / (turns * 2 * PI))) / (2 * Math.log(ropeTheta));
  const [fast, slow] = [dimensionOf(scaling.betaFast), dimensionOf(scaling.betaSlow)];
  const low = Math.max(scaling.truncate ? Math.floor(fast) : fast, 0);
  const end = Math.min(scaling.truncate ? Math.ceil(slow) : slow, headDim - 1);
  const high = low === end ? end + 0.001 : end;
  return inverse.map((frequency, i) => {
    const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
    return (frequency / scaling.factor) * ramp + frequency * (1 - ramp);
  });
}

/** Angle a position, float32[headDim/2]. */
export function inverseFrequencies(config: ModelConfig): Float32Array {
  const inverse = wavelengths(config).map((length) => 1 / length);
  const { ropeScaling } = config;
  switch (ropeScaling?.kind) {
    case undefined:
      return inverse;
    case 'linear':
      return inverse.map((frequency) => frequency / ropeScaling.factor);
    case 'llama3':
      return llama3(inverse, ropeScaling);
    case 'yarn':
      return yarn(inverse, config, ropeScaling);
  }
}

/** What cos and sin are multiplied by; 1 but for YaRN. */
export function attentionFactor({ ropeScaling }: ModelConfig): number {
  return ropeScaling?.kind === 'yarn' ? ropeScaling.attentionFactor : 1;
}

/** Angles [positions, headDim/2] of positions 0, 1, …, float32. */
export function rotaryAngles(config: ModelConfig, positions: number): Float32Array {
  const inverse = inverseFrequencies(config);
  const half = inverse.length;
  return Float32Array.from({ length: positions * half }, (_, k) => Math.floor(k / half) * inverse[k % half]!);
}

// Rotary settings of a config.json: the older `rope_theta` beside `rope_scaling`, or the newer `rope_parameters`.
// Source: transformers 5.23 modeling_rope_utils.py (convert_rope_params_to_dict, standardize_rope_params): which field
// wins, what stands for a missing one. Kinds that are not computed are refused by name: dynamic, longrope, proportional, …

import { type Fields, flag, isFields, positive, unsupported } from './config-fields.ts';

/** How the inverse frequencies differ from theta^(−2i/headDim); none of it for plain rotary embeddings. */
export type RopeScaling =
  | { readonly kind: 'linear'; readonly factor: number }
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly kind: 'yarn';
      readonly factor: number;
      readonly originalMaxPositions: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** whether the borders of the ramp are rounded to whole dimensions */
      readonly truncate: boolean;
      /** what cos and sin are multiplied by */
      readonly attentionFactor: number;
    };

export interface Rope {
  readonly ropeTheta: number;
  readonly ropeScaling?: RopeScaling;
}

/** 0.1·m·ln(scale) + 1, the growth of attention's logits that YaRN makes up for (arXiv 2309.00071 §3.4). */
const magnitude = (scale: number, m: number): number => (scale <= 1 ? 1 : 0.1 * m * Math.log(scale) + 1);

interface Place {
  readonly rope: Fields;
  /** what an error calls the object */
  readonly name: string;
  readonly config: Fields;
  readonly maxPositions: number;
}

function number({ rope, name }: Place, field: string, fallback?: number): number {
  return positive(rope, field, fallback, `${name}.${field}`);
}

/** The context length before scaling; a field of that name at the top wins (Phi 3 wrote it there). */
function originalMaxPositions(place: Place): number {
  const { config, maxPositions } = place;
  if ((config.original_max_position_embeddings ?? null) !== null) {
    return positive(config, 'original_max_position_embeddings');
  }
  return number(place, 'original_max_position_embeddings', maxPositions);
}

/** Zero counts as absent, as in the source. */
function numberOr(place: Place, field: string, fallback: number): number {
  return place.rope[field] === 0 ? fallback : number(place, field, fallback);
}

function yarn(place: Place): RopeScaling {
  const original = originalMaxPositions(place);
  const given = place.rope.factor;
  const factor = given === null ? place.maxPositions / original : number(place, 'factor');
  const [mscale, allDimensions] = [numberOr(place, 'mscale', 0.5), numberOr(place, 'mscale_all_dim', 0.5)];
  const hasBoth = Boolean(place.rope.mscale) && Boolean(place.rope.mscale_all_dim);
  const inferred = hasBoth ? magnitude(factor, mscale) / magnitude(factor, allDimensions) : magnitude(factor, 1);
  return {
    kind: 'yarn',
    factor,
    originalMaxPositions: original,
    betaFast: numberOr(place, 'beta_fast', 32),
    betaSlow: numberOr(place, 'beta_slow', 1),
    // null is Python's None there, which is false
    truncate: place.rope.truncate !== null && flag(place.rope, 'truncate', true, `${place.name}.truncate`),
    attentionFactor: number(place, 'attention_factor', inferred),
  };
}

const KINDS: Readonly<Record<string, (place: Place) => RopeScaling | undefined>> = {
  default: () => undefined,
  linear: (place) => ({ kind: 'linear', factor: number(place, 'factor') }),
  llama3: (place) => ({
    kind: 'llama3',
    factor: number(place, 'factor'),
    lowFrequencyFactor: number(place, 'low_freq_factor'),
    highFrequencyFactor: number(place, 'high_freq_factor'),
    originalMaxPositions: originalMaxPositions(place),
  }),
  yarn,
};

/** `rope_scaling` when it holds anything, else `rope_parameters`, else nothing. */
function placeOf(config: Fields, maxPositions: number): Place {
  for (const name of ['rope_scaling', 'rope_parameters']) {
    const rope = config[name] ?? {};
    if (!isFields(rope)) throw unsupported(name, rope, 'an object');
    if (Object.keys(rope).length > 0) return { rope, name, config, maxPositions };
  }
  return { rope: {}, name: 'rope_parameters', config, maxPositions };
}

/**
 * Reads the rotary settings.
 * @param maxPositions max_position_embeddings
 * @throws {SwarmError} UNSUPPORTED_MODEL, naming the field
 */
export function readRope(config: Fields, maxPositions: number): Rope {
  const place = placeOf(config, maxPositions);
  const { rope, name } = place;
  const kind = rope.rope_type ?? rope.type ?? 'default';
  if (typeof kind !== 'string' || !Object.hasOwn(KINDS, kind)) {
    throw unsupported(`${name}.rope_type`, kind, Object.keys(KINDS).join(', '));
  }
  for (const field of ['full_attention', 'sliding_attention']) {
    if (field in rope) throw unsupported(`${name}.${field}`, rope[field], 'one rotary embedding for all layers');
  }
  if ((rope.mrope_section ?? null) !== null) {
    throw unsupported(`${name}.mrope_section`, rope.mrope_section, 'none (text alone)');
  }
  if ((rope.partial_rotary_factor ?? 1) !== 1) {
    throw unsupported(`${name}.partial_rotary_factor`, rope.partial_rotary_factor, '1');
  }
  const ropeScaling = KINDS[kind]!(place);
  return {
    ropeTheta: number(place, 'rope_theta', positive(config, 'rope_theta', 10_000)),
    ...(ropeScaling ? { ropeScaling } : {}),
  };
}

// Forward pass of training: groups of completions, each group under its prompt, which is computed once for all of them.
// Inputs: `prompt_ids` int32[groups, prompt], right-padded: the prompts without their last tokens; `prompt_lengths`
// int32[groups], each ≥ 0 and ≤ prompt; `completion_ids` int32[groups, members, tokens], right-padded: the last prompt token
// and all of the completion but its last token, so that row t predicts completion token t.
// Rows are the prompts' tokens and then the completions'. Everything but attention works on rows, wherever they belong.
// Invariant: a completion sees its own prompt and itself, nobody else and no padding.

import type { ModelConfig } from '../node/model/config.ts';
import type { GraphBuilder } from '../node/model/graph/builder.ts';
import { addDims, type Dim, type Shape } from '../node/model/graph/dim.ts';
import {
  add,
  cast,
  concat,
  expand,
  less,
  lessOrEqual,
  mul,
  range,
  reduceSum,
  reshape,
  shapeOf,
  split,
  where,
} from '../node/model/graph/ops.ts';
import type { Value } from '../node/model/graph/value.ts';
import {
  embed,
  feedForward,
  type GraphWeights,
  linear,
  MASKED_SCORE,
  norm,
  type Placement,
  projections,
  rotaryTables,
} from '../node/model/llama/layers.ts';
import { groupedAttention, ROWS } from './attention.ts';
import { createTape, type Tape } from './autodiff/tape.ts';

const [PROMPT_ROWS, COMPLETION_ROWS] = ROWS as [Dim, Dim];

/** Completions as a grid: one row a sequence, its tokens side by side. */
export const GRID: Shape = ['groups*members', 'tokens'];

interface Inputs {
  /** int32[rows] */
  readonly ids: Value;
  readonly placement: Placement;
  /** [groups, 1, tokens, prompt + tokens]: 0 where a completion's token may look, else MASKED_SCORE */
  readonly completionMask: Value;
  /** [prompt, prompt] */
  readonly promptMask: Value;
}

const seenOrMasked = (seen: Value): Value =>
  where(seen, seen.graph.scalar('float32', 0), seen.graph.scalar('float32', MASKED_SCORE));

/** 0 where column ≤ row, else MASKED_SCORE. */
function causalMask(graph: GraphBuilder, size: string): Value {
  const index = range(graph, size);
  return seenOrMasked(lessOrEqual(reshape(index, [1, size]), reshape(index, [size, 1])));
}

function declareInputs(graph: GraphBuilder, config: ModelConfig): Inputs {
  const prompts = graph.input('prompt_ids', 'int32', ['groups', 'prompt']);
  const lengths = cast(graph.input('prompt_lengths', 'int32', ['groups']), 'int64');
  const completions = graph.input('completion_ids', 'int32', ['groups', 'members', 'tokens']);
  const promptPositions = expand(reshape(range(graph, 'prompt'), [1, 'prompt']), ['groups', 'prompt']);
  const completionPositions = expand(
    add(reshape(lengths, ['groups', 1, 1]), reshape(range(graph, 'tokens'), [1, 1, 'tokens'])),
    ['groups', 'members', 'tokens'],
  );
  const joined = (a: Value, b: Value): Value => concat([reshape(a, [PROMPT_ROWS]), reshape(b, [COMPLETION_ROWS])], 0);
  const rows = addDims([PROMPT_ROWS, COMPLETION_ROWS]);
  const promptSeen = seenOrMasked(
    less(reshape(range(graph, 'prompt'), [1, 'prompt']), reshape(lengths, ['groups', 1])),
  );
  return {
    ids: joined(prompts, completions),
    placement: {
      // each row a sequence of its own: a sequence may not be longer than the tables
      rotated: (heads) => [rows, 1, heads * config.headDim],
      positions: reshape(joined(promptPositions, completionPositions), [rows, 1]),
      tables: rotaryTables(graph, config),
    },
    completionMask: concat(
      [
        expand(reshape(promptSeen, ['groups', 1, 1, 'prompt']), ['groups', 1, 'tokens', 'prompt']),
        expand(causalMask(graph, 'tokens'), ['groups', 1, 'tokens', 'tokens']),
      ],
      3,
    ),
    promptMask: causalMask(graph, 'prompt'),
  };
}

function layerOf(
  tape: Tape,
  config: ModelConfig,
  weights: GraphWeights,
  layer: number,
  inputs: Inputs,
  rows: Value,
): Value {
  const at = `model.layers.${layer}`;
  const normed = norm(weights, config, `${at}.input_layernorm`, rows);
  const projected = projections(weights, config, layer, normed, inputs.placement);
  const attended = groupedAttention(tape, config, projected, inputs);
  return feedForward(weights, config, layer, linear(weights, `${at}.self_attn.o_proj`, attended, rows));
}

/**
 * The same rows, known only once `cotangent` is: what is computed from them anew waits for the way back, and equals no node of
 * the way forward.
 */
function later(rows: Value, cotangent: Value): Value {
  return add(rows, mul(cast(reduceSum(shapeOf(cotangent)), 'float32'), 0));
}

/** A part of the forward pass of which nothing is kept but its input. */
function recomputed(tape: Tape, rows: Value, weights: readonly Value[], run: (on: Tape, from: Value) => Value): Value {
  const { graph } = rows;
  const forward = (): Value[] => [run(createTape(graph), rows)];
  return tape.region([rows, ...weights], forward, ([cotangent]) => {
    const inner = createTape(graph);
    const from = later(rows, cotangent!);
    return inner.pullback(new Map([[run(inner, from), cotangent!]]), [from, ...weights]);
  })[0]!;
}

export interface ForwardOptions {
  /** keep each layer's input alone and compute the layer anew on the way back */
  readonly recompute?: boolean;
}

/**
 * Appends the forward pass.
 * @returns final-norm hidden states of the completions' rows, [groups·members·tokens, d]
 */
export function groupedForward(
  graph: GraphBuilder,
  tape: Tape,
  config: ModelConfig,
  weights: GraphWeights,
  { recompute = false }: ForwardOptions = {},
): Value {
  const inputs = declareInputs(graph, config);
  let rows = embed(weights, inputs.ids, inputs.ids.shape);
  for (let layer = 0; layer < config.layers; layer++) {
    const run = (on: Tape, from: Value): Value => layerOf(on, config, weights, layer, inputs, from);
    const own = [...weights.all]
      .filter(([name]) => name.startsWith(`model.layers.${layer}.`))
      .map(([, value]) => value);
    rows = recompute ? recomputed(tape, rows, own, run) : run(tape, rows);
  }
  return norm(weights, config, 'model.norm', split(rows, 0, ROWS)[1]!);
}

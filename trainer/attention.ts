// Causal attention of training rows, grouped queries included: prompts over themselves, completions over their prompt and
// over themselves. The keys of a prompt are read by all completions of its group in one product.
// With W = softmax(αQKᵀ + mask), O = WV and g = ∂loss/∂O:  ∂V = Wᵀg,  S = W ∘ (gVᵀ − rowsum(g ∘ O)),  ∂Q = αSK,  ∂K = αSᵀQ.
// The row sum (FlashAttention's D, arXiv 2205.14135 §B.2) goes into the product gVᵀ as one more column of g against −1s, so that
// the way back writes scores' size twice, where the rule of softmax writes it five times (measured 5 % of a training pass).

import type { ModelConfig } from '../node/model/config.ts';
import { multiplyDims, type Shape } from '../node/model/graph/dim.ts';
import {
  add,
  concat,
  fill,
  fusedMatMul,
  mul,
  reduceSum,
  reshape,
  softmax,
  split,
  transpose,
} from '../node/model/graph/ops.ts';
import type { Value } from '../node/model/graph/value.ts';
import type { Projections } from '../node/model/llama/layers.ts';
import type { Tape } from './autodiff/tape.ts';

/** One set of keys and values, and the batch layout [..., rows, headDim] in which queries meet them. */
interface Source {
  readonly layout: Shape;
  readonly keys: Value;
  readonly values: Value;
}

/** What the way back reads. */
interface Attended {
  /** [..., headDim] in the queries' own layout */
  readonly mixed: Value;
  /** by source: [...layout, keys] */
  readonly weights: readonly Value[];
}

/** @param scores the layout that the mask broadcasts to, without the last axis */
function attend(alpha: number, queries: Value, sources: readonly Source[], scores: Shape, mask: Value): Attended {
  const widths = sources.map(({ keys }) => keys.shape.at(-2)!);
  const parts = sources.map(({ layout, keys }, k) =>
    reshape(fusedMatMul(reshape(queries, layout), keys, { transB: true, alpha }), [...scores, widths[k]!]),
  );
  const all = softmax(add(parts.length === 1 ? parts[0]! : concat(parts, -1), mask));
  const weights = (parts.length === 1 ? [all] : split(all, -1, widths)).map((part, k) =>
    reshape(part, [...sources[k]!.layout.slice(0, -1), widths[k]!]),
  );
  const mixed = sources
    .map(({ values }, k) => reshape(fusedMatMul(weights[k]!, values), queries.shape))
    .reduce((sum, part) => add(sum, part));
  return { mixed, weights };
}

interface AttendGradients {
  readonly queries: Value;
  /** by source */
  readonly keys: readonly Value[];
  readonly values: readonly Value[];
}

/** @param g ∂loss/∂mixed, in the queries' layout */
function attendBackward(
  alpha: number,
  queries: Value,
  sources: readonly Source[],
  { mixed, weights }: Attended,
  g: Value,
): AttendGradients {
  const widened = concat([g, reduceSum(mul(g, mixed), { axes: [-1], keepDims: true })], -1);
  const parts = sources.map(({ layout, keys, values }, k) => {
    const at = (x: Value): Value => reshape(x, [...layout.slice(0, -1), x.shape.at(-1)!]);
    const minusOnes = fill(g.graph, [...values.shape.slice(0, -1), 1], -1);
    const centred = fusedMatMul(at(widened), concat([values, minusOnes], -1), { transB: true });
    const scores = mul(weights[k]!, centred);
    return {
      queries: reshape(fusedMatMul(scores, keys, { alpha }), queries.shape),
      keys: fusedMatMul(scores, at(queries), { transA: true, alpha }),
      values: fusedMatMul(weights[k]!, at(g), { transA: true }),
    };
  });
  return {
    queries: parts.map((part) => part.queries).reduce((sum, part) => add(sum, part)),
    keys: parts.map((part) => part.keys),
    values: parts.map((part) => part.values),
  };
}

/** Rows [n, width] of heads with their axes in the order of a product, and back. */
interface Arrangement {
  arrange(rows: Value): Value;
  restore(arranged: Value): Value;
}

/**
 * @param grid the axes of the rows and of their width
 * @param order which of them comes where
 * @param result the shape of the product's operand
 */
function arrangement(grid: Shape, order: readonly number[], result: Shape, rowAxes: number): Arrangement {
  const moved = order.map((axis) => grid[axis]!);
  const back = order.map((_, axis) => order.indexOf(axis));
  const flat = [multiplyDims(grid.slice(0, rowAxes)), multiplyDims(grid.slice(rowAxes))];
  return {
    arrange: (rows) => reshape(transpose(reshape(rows, grid), order), result),
    restore: (arranged) => reshape(transpose(reshape(arranged, moved), back), flat),
  };
}

function arrangements({ heads, keyValueHeads: kv, headDim }: ModelConfig) {
  const shared = heads / kv;
  const [prompts, completions] = [['groups', 'prompt'] as const, ['groups', 'members', 'tokens'] as const];
  const of = {
    prompt: ['groups', kv, 'prompt', headDim],
    promptQueries: ['groups', kv, `${shared}*prompt`, headDim],
    completion: ['groups', kv, 'members', 'tokens', headDim],
    completionQueries: ['groups', kv, 'members', `${shared}*tokens`, headDim],
  } as const satisfies Record<string, Shape>;
  return {
    promptQueries: arrangement([...prompts, heads, headDim], [0, 2, 1, 3], of.promptQueries, 2),
    promptKeys: arrangement([...prompts, kv, headDim], [0, 2, 1, 3], of.prompt, 2),
    queries: arrangement([...completions, kv, shared, headDim], [0, 3, 1, 4, 2, 5], of.completionQueries, 3),
    keys: arrangement([...completions, kv, headDim], [0, 3, 1, 2, 4], of.completion, 3),
    layouts: {
      promptQueries: of.promptQueries,
      ownKeys: of.completionQueries,
      promptKeys: ['groups', kv, `members*${shared}*tokens`, headDim] as Shape,
    },
  };
}

/** Rows of prompts, rows of completions. */
export const ROWS: Shape = ['groups*prompt', 'groups*members*tokens'];

export interface AttentionMasks {
  /** [prompt, prompt] */
  readonly promptMask: Value;
  /** [groups, 1, tokens, prompt + tokens] */
  readonly completionMask: Value;
}

/** Queries, keys and values of all rows to what each row has attended to, [rows, heads·headDim]. */
export function groupedAttention(
  tape: Tape,
  config: ModelConfig,
  { query, key, value }: Projections,
  { promptMask, completionMask }: AttentionMasks,
): Value {
  const { layouts, ...arranged } = arrangements(config);
  const alpha = 1 / Math.sqrt(config.headDim);
  const flat = (x: Value): Value => reshape(x, [x.shape[0]!, x.shape.at(-1)!]);
  const parts = (x: Value): Value[] => split(flat(x), 0, ROWS);
  const rowsOf = (prompts: Value, completions: Value, like: Value): Value =>
    reshape(concat([prompts, completions], 0), like.shape);
  let backward: (g: Value) => Value[] = () => [];
  const forward = (): readonly Value[] => {
    const [promptQueries, queries] = parts(query).map((x, k) =>
      arranged[k === 0 ? 'promptQueries' : 'queries'].arrange(x),
    );
    const [[promptKeys, keys], [promptValues, values]] = [key, value].map((each) =>
      parts(each).map((x, k) => arranged[k === 0 ? 'promptKeys' : 'keys'].arrange(x)),
    ) as [Value[], Value[]];
    const prompt = { keys: promptKeys!, values: promptValues! };
    const promptSources = [{ ...prompt, layout: layouts.promptQueries }];
    const sources = [
      { ...prompt, layout: layouts.promptKeys },
      { keys: keys!, values: values!, layout: layouts.ownKeys },
    ];
    const { heads } = config;
    const ofPrompts = attend(alpha, promptQueries!, promptSources, ['groups', heads, 'prompt'], promptMask);
    const ofCompletions = attend(alpha, queries!, sources, ['groups', `${heads}*members`, 'tokens'], completionMask);
    backward = (g) => {
      const [promptG, completionG] = split(g, 0, ROWS);
      const p = attendBackward(
        alpha,
        promptQueries!,
        promptSources,
        ofPrompts,
        arranged.promptQueries.arrange(promptG!),
      );
      const c = attendBackward(alpha, queries!, sources, ofCompletions, arranged.queries.arrange(completionG!));
      const ofKeys = (name: 'keys' | 'values', like: Value): Value =>
        rowsOf(arranged.promptKeys.restore(add(p[name][0]!, c[name][0]!)), arranged.keys.restore(c[name][1]!), like);
      const queryRows = [arranged.promptQueries.restore(p.queries), arranged.queries.restore(c.queries)] as const;
      return [rowsOf(...queryRows, query), ofKeys('keys', key), ofKeys('values', value)];
    };
    const mixed = [arranged.promptQueries.restore(ofPrompts.mixed), arranged.queries.restore(ofCompletions.mixed)];
    return [concat(mixed, 0)];
  };
  return tape.region([query, key, value], forward, ([g]) => backward(g!))[0]!;
}

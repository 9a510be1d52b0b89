// Every gradient rule against central differences of the operator as ONNX Runtime computes it.
// The table is total by type, so an operator without a case does not compile.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as ort from 'onnxruntime-node';
import { GraphBuilder } from '../../../node/model/graph/builder.ts';
import type { Shape } from '../../../node/model/graph/dim.ts';
import { encodeModel } from '../../../node/model/graph/encode.ts';
import * as ops from '../../../node/model/graph/ops.ts';
import type { SupportedOp, Value } from '../../../node/model/graph/value.ts';
import { gradients } from '../../../trainer/autodiff/gradients.ts';
import { noGradient } from '../../../trainer/autodiff/rule.ts';
import { RULES } from '../../../trainer/autodiff/rules.ts';
import { float32, int32, session, values } from '../../support/run-graph.ts';

interface Input {
  readonly shape: readonly number[];
  /** declared shape, where it is symbolic */
  readonly symbolic?: Shape;
  /** values are drawn from ±[low, high], or [low, high] when positive */
  readonly range?: readonly [low: number, high: number];
  readonly positive?: boolean;
  /** integer ids under this bound instead of floats */
  readonly ids?: number;
}
interface Case {
  readonly name?: string;
  readonly inputs: readonly Input[];
  readonly build: (...x: Value[]) => Value;
}

const x34: Input = { shape: [3, 4], symbolic: ['rows', 4] };
const row: Input = { shape: [4] };
const column: Input = { shape: [3, 1], symbolic: ['rows', 1] };
const positive: Input = { shape: [3, 4], positive: true, range: [0.5, 2] };
const binary = (build: Case['build']): Case[] => [
  { name: 'same shape', inputs: [x34, x34], build },
  { name: 'broadcast', inputs: [column, row], build },
];
const comparison = (op: Case['build']): Case[] => [
  { inputs: [x34, x34], build: (a, b) => ops.mul(a!, ops.cast(op(a!, b!), 'float32')) },
];
const booleans = (op: Case['build']): Case[] => [
  {
    inputs: [x34, x34],
    build: (a, b) => ops.mul(a!, ops.cast(op(ops.less(a!, 0), ops.less(b!, 0)), 'float32')),
  },
];
const unary = (build: Case['build'], input: Input = x34): Case[] => [{ inputs: [input], build }];
const products = (build: (a: Value, b: Value, transA: boolean, transB: boolean) => Value): Case[] =>
  [0, 1, 2, 3].map((k) => {
    const [transA, transB] = [k >= 2, k % 2 === 1];
    const inputs = [{ shape: transA ? [4, 3] : [3, 4] }, { shape: transB ? [2, 4] : [4, 2] }];
    return { name: `transA ${transA} transB ${transB}`, inputs, build: (a, b) => build(a!, b!, transA, transB) };
  });

const CASES: { readonly [Op in SupportedOp]: readonly Case[] } = {
  Abs: unary((x) => ops.abs(x!)),
  Add: binary((a, b) => ops.add(a!, b!)),
  And: booleans((a, b) => ops.and(a!, b!)),
  Cast: [{ inputs: [x34], build: (x) => ops.mul(x!, ops.cast(ops.cast(ops.mul(x!, 3), 'int32'), 'float32')) }],
  Clip: unary((x) => ops.clip(x!, -0.55, 0.85)),
  Concat: [
    { inputs: [x34, { shape: [2, 4] }, row], build: (a, b, c) => ops.concat([a!, b!, ops.reshape(c!, [1, 4])], 0) },
    { inputs: [x34, { shape: [3, 2], symbolic: ['rows', 2] }], build: (a, b) => ops.concat([a!, b!, a!], -1) },
  ],
  Div: [
    { inputs: [x34, { ...positive, symbolic: ['rows', 4] }], build: (a, b) => ops.div(a!, b!) },
    { inputs: [row, { ...column, positive: true, range: [0.5, 2] }], build: (a, b) => ops.div(a!, b!) },
  ],
  Equal: comparison((a, b) => ops.equal(ops.cast(a!, 'int32'), ops.cast(b!, 'int32'))),
  Exp: unary((x) => ops.exp(x!)),
  Expand: [{ inputs: [column], build: (x) => ops.expand(x!, [2, 'rows', 4]) }],
  FusedMatMul: [
    ...products((a, b, transA, transB) => ops.fusedMatMul(a, b, { transA, transB, alpha: 0.7 })),
    {
      name: 'broadcast batch',
      inputs: [{ shape: [2, 3, 5, 4] }, { shape: [3, 6, 4] }],
      build: (a, b) => ops.fusedMatMul(a!, b!, { transB: true, alpha: 2 }),
    },
  ],
  Gather: [
    {
      inputs: [{ shape: [5, 3] }, { shape: [2, 4], symbolic: ['b', 't'], ids: 5 }],
      build: (x, ids) => ops.gather(x!, ids!),
    },
  ],
  GatherElements: [
    { inputs: [{ shape: [3, 5] }, { shape: [3, 4], ids: 5 }], build: (x, ids) => ops.gatherElements(x!, ids!) },
  ],
  Gemm: [
    ...products((a, b, transA, transB) => ops.gemm(a, b, { transA, transB })),
    {
      name: 'bias',
      inputs: [x34, { shape: [2, 4] }, { shape: [2] }],
      build: (a, b, bias) => ops.gemm(a!, b!, { transB: true, bias: bias! }),
    },
  ],
  Greater: comparison((a, b) => ops.greater(a!, b!)),
  GreaterOrEqual: comparison((a, b) => ops.greaterOrEqual(a!, b!)),
  // the value that central differences see must not move with x: stop-gradient of an id-like input
  Identity: [{ inputs: [x34], build: (x) => ops.mul(x!, ops.stopGradient(ops.sign(x!))) }],
  Less: comparison((a, b) => ops.less(a!, b!)),
  LessOrEqual: comparison((a, b) => ops.lessOrEqual(a!, b!)),
  Log: unary((x) => ops.log(x!), positive),
  LogSoftmax: unary((x) => ops.logSoftmax(x!)),
  MatMul: [
    { inputs: [{ shape: [2, 3, 4] }, { shape: [4, 5] }], build: (a, b) => ops.matMul(a!, b!) },
    { inputs: [{ shape: [3, 4] }, { shape: [2, 4, 5] }], build: (a, b) => ops.matMul(a!, b!) },
  ],
  Max: binary((a, b) => ops.max(a!, b!)),
  Min: binary((a, b) => ops.min(a!, b!)),
  Mul: binary((a, b) => ops.mul(a!, b!)),
  Neg: unary((x) => ops.neg(x!)),
  Not: [{ inputs: [x34], build: (x) => ops.where(ops.not(ops.less(x!, 0)), x!, 0) }],
  Or: booleans((a, b) => ops.or(a!, b!)),
  Pad: [
    {
      inputs: [x34],
      build: (x) => ops.pad(x!, 0, x!.graph.constantInt64([2]), x!.graph.constantInt64([1]), '(rows+3)'),
    },
  ],
  QuickGelu: unary((x) => ops.silu(x!), { ...x34, range: [0.1, 4] }),
  Range: [
    {
      inputs: [x34],
      build: (x) => ops.mul(x!, ops.reshape(ops.cast(ops.range(x!.graph, 'rows'), 'float32'), ['rows', 1])),
    },
  ],
  Reciprocal: unary((x) => ops.reciprocal(x!), positive),
  ReduceMax: [{ inputs: [x34], build: (x) => ops.reduceMax(x!, { axes: [1] }) }],
  ReduceMean: [
    { inputs: [x34], build: (x) => ops.reduceMean(x!, { axes: [0] }) },
    { inputs: [x34], build: (x) => ops.reduceMean(x!, { axes: [-1], keepDims: true }) },
  ],
  ReduceSum: [
    { inputs: [x34], build: (x) => ops.reduceSum(x!) },
    { inputs: [x34], build: (x) => ops.reduceSum(x!, { axes: [0], keepDims: true }) },
  ],
  Reshape: [{ inputs: [x34], build: (x) => ops.reshape(x!, [2, '2*rows']) }],
  RotaryEmbedding: [
    [2, 3, 8],
    [2, 2, 3, 4],
  ].map((shape) => ({
    name: `of rank ${shape.length}`,
    inputs: [{ shape }, { shape: [2, 3], ids: 6 }],
    build: (x, ids) => {
      const angles = Array.from({ length: 12 }, (_, k) => 0.3 * k);
      const [cos, sin] = [Math.cos, Math.sin].map((f) => x!.graph.constant(angles.map(f), [6, 2]));
      return ops.rotaryEmbedding(x!, ops.cast(ids!, 'int64'), cos!, sin!);
    },
  })),
  ScatterElements: [
    {
      inputs: [{ shape: [3, 5] }, { shape: [3, 4], ids: 5 }, { shape: [3, 4] }],
      build: (x, ids, updates) => ops.scatterElementsAdd(x!, ids!, updates!),
    },
  ],
  ScatterND: [
    {
      inputs: [{ shape: [5, 3] }, { shape: [4, 1], ids: 5 }, { shape: [4, 3] }],
      build: (x, ids, updates) => ops.scatterRowsAdd(x!, ops.cast(ids!, 'int64'), updates!),
    },
  ],
  Shape: [{ inputs: [x34], build: (x) => ops.mul(x!, ops.cast(ops.dimTensor(x!.graph, 'rows'), 'float32')) }],
  Sigmoid: unary((x) => ops.sigmoid(x!)),
  Sign: [{ inputs: [x34], build: (x) => ops.mul(x!, ops.sign(x!)) }],
  SimplifiedLayerNormalization: [
    { inputs: [x34, row], build: (x, scale) => ops.rmsNorm(x!, scale!, 1e-5).y },
    {
      name: 'both outputs',
      inputs: [{ shape: [2, 3, 4] }, row],
      build: (x, scale) => {
        const { y, inverseRms } = ops.rmsNorm(x!, scale!, 1e-5);
        return ops.mul(y, ops.mul(inverseRms, inverseRms));
      },
    },
  ],
  Slice: [
    { inputs: [x34], build: (x) => ops.slice(x!, 1, 1, 2) },
    {
      inputs: [{ shape: [5, 4], symbolic: ['long', 4] }, x34],
      build: (x, y) => ops.mul(ops.slice(x!, 0, 1, 'rows'), y!),
    },
  ],
  Softmax: unary((x) => ops.softmax(x!)),
  Split: [
    {
      inputs: [{ shape: [2, 7], symbolic: ['rows', 7] }],
      build: (x) => {
        const [a, b] = ops.split(x!, 1, [3, 4]);
        return ops.concat([b!, ops.mul(a!, a!)], 1);
      },
    },
    {
      name: 'a part that nothing reads, symbolic',
      inputs: [x34, { shape: [2, 4], symbolic: ['others', 4] }],
      build: (x, y) => ops.split(ops.mul(ops.concat([x!, y!], 0), 3), 0, ['rows', 'others'])[1]!,
    },
  ],
  Sqrt: unary((x) => ops.sqrt(x!), positive),
  Sub: binary((a, b) => ops.sub(a!, b!)),
  Tanh: unary((x) => ops.tanh(x!)),
  Transpose: [{ inputs: [{ shape: [2, 3, 4] }], build: (x) => ops.transpose(x!, [2, 0, 1]) }],
  Where: [{ inputs: [x34, column, row], build: (c, a, b) => ops.where(ops.less(c!, 0), a!, b!) }],
};

/** A small generator with a fixed seed, so that a failure repeats. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function draw(input: Input, random: () => number): Float32Array | Int32Array {
  const size = input.shape.reduce((product, dim) => product * dim, 1);
  if (input.ids !== undefined) return Int32Array.from({ length: size }, () => Math.floor(random() * input.ids!));
  const [low, high] = input.range ?? [0.1, 1.5];
  return Float32Array.from(
    { length: size },
    () => (low + (high - low) * random()) * (!input.positive && random() < 0.5 ? -1 : 1),
  );
}

const feed = (data: Float32Array | Int32Array, shape: readonly number[]): ort.Tensor =>
  data instanceof Int32Array ? int32(data, shape) : new ort.Tensor('float32', data, shape);

const EPSILON = 1e-2;
const TOLERANCE = 2e-3;

async function checkCase(op: SupportedOp, { inputs, build }: Case): Promise<void> {
  const random = generator(7 + op.length);
  const graph = new GraphBuilder(op);
  const names = inputs.map((_, k) => `x${k}`);
  const declared = inputs.map((input, k) =>
    graph.input(names[k]!, input.ids === undefined ? 'float32' : 'int32', input.symbolic ?? input.shape),
  );
  const y = build(...declared);
  assert.ok(
    graph.nodes.some((node) => node.op === op),
    `the case of ${op} has no ${op} node`,
  );
  const weights = graph.input('weights', 'float32', y.shape);
  const wrt = declared.filter((value) => value.dtype === 'float32');
  const found = gradients(graph, ops.reduceSum(ops.mul(y, weights)), wrt);
  graph.output('y', y);
  for (const [k, gradient] of found.entries()) graph.output(`gradient.${wrt[k]!.name}`, gradient);

  const runner = await session(encodeModel(graph));
  const data = inputs.map((input) => draw(input, random));
  const feeds: Record<string, ort.Tensor> = Object.fromEntries(
    inputs.map((input, k) => [names[k]!, feed(data[k]!, input.shape)]),
  );
  const forward = new GraphBuilder(op);
  const again = inputs.map((input, k) =>
    forward.input(names[k]!, input.ids === undefined ? 'float32' : 'int32', input.symbolic ?? input.shape),
  );
  forward.output('y', build(...again));
  const forwardRunner = await session(encodeModel(forward));
  const shape = (await forwardRunner.run(feeds)).y!.dims;
  const w = draw({ shape }, random) as Float32Array;
  const exact = await runner.run({ ...feeds, weights: float32(w, shape) });
  const loss = async (): Promise<number> => {
    const out = values((await forwardRunner.run(feeds)).y);
    return out.reduce((sum, value, k) => sum + value * w[k]!, 0);
  };
  for (const value of wrt) {
    const at = names.indexOf(value.name);
    const analytic = values(exact[`gradient.${value.name}`]);
    const numeric = await centralDifferences(data[at] as Float32Array, loss);
    assert.equal(analytic.length, numeric.length);
    const scale = Math.max(1, ...numeric.map(Math.abs));
    for (const [k, expected] of numeric.entries()) {
      assert.ok(
        Math.abs(analytic[k]! - expected) <= TOLERANCE * scale,
        `${op} ∂${value.name}[${k}]: ${analytic[k]} for ${expected}`,
      );
    }
  }
  await runner.release();
  await forwardRunner.release();
}

/** Changes `data` in place (it is fed zero-copy) and puts it back. */
async function centralDifferences(data: Float32Array, loss: () => Promise<number>): Promise<number[]> {
  const numeric: number[] = [];
  for (let k = 0; k < data.length; k++) {
    const kept = data[k]!;
    data[k] = kept + EPSILON;
    const [above, high] = [await loss(), data[k]!];
    data[k] = kept - EPSILON;
    const [below, low] = [await loss(), data[k]!];
    data[k] = kept;
    numeric.push((above - below) / (high - low));
  }
  return numeric;
}

describe('gradient rules agree with central differences', () => {
  for (const [op, cases] of Object.entries(CASES) as [SupportedOp, readonly Case[]][]) {
    for (const [k, one] of cases.entries()) {
      test(`${op} ${one.name ?? (cases.length > 1 ? k : '')}`.trim(), () => checkCase(op, one));
    }
  }

  test('every operator has a rule and a case', () => {
    assert.deepEqual(Object.keys(CASES).sort(), Object.keys(RULES).sort());
    for (const [op, cases] of Object.entries(CASES)) assert.ok(cases.length > 0, `${op} has no case`);
  });
});

test('no gradient flows through stopGradient', async () => {
  const graph = new GraphBuilder('stop');
  const x = graph.input('x', 'float32', [3]);
  const loss = ops.reduceSum(ops.mul(x, ops.stopGradient(x)));
  graph.output('gradient', gradients(graph, loss, [x])[0]!);
  const runner = await session(encodeModel(graph));
  const result = await runner.run({ x: float32([1, -2, 3], [3]) });
  await runner.release();
  // d/dx (x·sg(x)) = sg(x), not 2x
  assert.deepEqual(values(result.gradient), [1, -2, 3]);
  assert.equal(RULES.Identity, noGradient);
});

test('gradients that nothing leads to are zero, and repeated uses add up', async () => {
  const graph = new GraphBuilder('uses');
  const [x, unused] = [graph.input('x', 'float32', [2]), graph.input('unused', 'float32', [2])];
  const loss = ops.reduceSum(ops.add(ops.mul(x, x), ops.mul(x, 3)));
  const [gx, gu] = gradients(graph, loss, [x, unused]);
  graph.output('gx', gx!);
  graph.output('gu', gu!);
  const runner = await session(encodeModel(graph));
  const result = await runner.run({ x: float32([1, -2], [2]) });
  await runner.release();
  assert.deepEqual(values(result.gx), [5, -1]);
  assert.deepEqual(values(result.gu), [0, 0]);
});

// One function an ONNX operator, with the operator's own name; shapes and types are checked when the node is added.
// Source: ONNX operator reference, opset 21, and ONNX Runtime's ContribOperators.md for com.microsoft operators.
// An operator table, so longer than other files. Left out: attributes and types that no graph of ours uses.

import type { GraphBuilder } from './builder.ts';
import {
  addDims,
  broadcastShapes,
  type Dim,
  dimFactors,
  divideDims,
  multiplyDims,
  printShape,
  type Shape,
  sameShape,
  sumTerms,
} from './dim.ts';
import { GraphError } from './error.ts';
import { type Attributes, type DType, float, int, ints, type Operand, type SupportedOp, type Value } from './value.ts';

// --- checks ---------------------------------------------------------------------------------------------------------

function shapeError(op: SupportedOp, inputs: readonly Value[], why: string): GraphError {
  const given = inputs.map((value) => `${value.name} ${printShape(value.shape)}`).join(', ');
  return new GraphError('GRAPH_SHAPE', `${op}(${given}): ${why}`, {
    op,
    shapes: inputs.map((v) => printShape(v.shape)).join(' '),
  });
}

function requireType(op: SupportedOp, value: Value, ...allowed: readonly DType[]): void {
  if (allowed.includes(value.dtype)) return;
  const message = `${op}: ${value.name} ${printShape(value.shape)} is ${value.dtype}, expected ${allowed.join(' or ')}; use cast`;
  throw new GraphError('GRAPH_TYPE', message, { op, dtype: value.dtype });
}

function requireSameType(op: SupportedOp, a: Value, b: Value): void {
  if (a.dtype === b.dtype) return;
  throw new GraphError('GRAPH_TYPE', `${op}: ${a.name} is ${a.dtype} but ${b.name} is ${b.dtype}; use cast`, { op });
}

function checkedAxis(op: SupportedOp, value: Value, axis: number): number {
  const positive = axis < 0 ? axis + value.shape.length : axis;
  if (Number.isInteger(positive) && positive >= 0 && positive < value.shape.length) return positive;
  throw shapeError(op, [value], `axis ${axis} does not exist`);
}

function single(
  op: SupportedOp,
  inputs: readonly Value[],
  dtype: DType,
  shape: Shape,
  attributes: Attributes = {},
): Value {
  return inputs[0]!.graph.node(op, inputs, [{ dtype, shape }], attributes)[0]!;
}

// --- elementwise ----------------------------------------------------------------------------------------------------

function operands(op: SupportedOp, a: Operand, b: Operand): readonly [Value, Value] {
  if (typeof a !== 'number') return [a, typeof b === 'number' ? a.graph.scalar(a.dtype, b) : b];
  if (typeof b !== 'number') return [b.graph.scalar(b.dtype, a), b];
  throw new GraphError('GRAPH_TYPE', `${op}: both operands are numbers; compute ${a}, ${b} outside of the graph`);
}

function broadcast(op: SupportedOp, a: Operand, b: Operand, result?: DType): Value {
  const [left, right] = operands(op, a, b);
  requireSameType(op, left, right);
  const shape = broadcastShapes(left.shape, right.shape);
  if (!shape) throw shapeError(op, [left, right], 'shapes do not broadcast');
  return single(op, [left, right], result ?? left.dtype, shape);
}

function arithmetic(op: SupportedOp, a: Operand, b: Operand): Value {
  for (const value of operands(op, a, b)) requireType(op, value, 'float32', 'int64', 'int32');
  return broadcast(op, a, b);
}

export const add = (a: Operand, b: Operand): Value => arithmetic('Add', a, b);
export const sub = (a: Operand, b: Operand): Value => arithmetic('Sub', a, b);
export const mul = (a: Operand, b: Operand): Value => arithmetic('Mul', a, b);
export const div = (a: Operand, b: Operand): Value => arithmetic('Div', a, b);
export const min = (a: Operand, b: Operand): Value => arithmetic('Min', a, b);
export const max = (a: Operand, b: Operand): Value => arithmetic('Max', a, b);

export const equal = (a: Operand, b: Operand): Value => broadcast('Equal', a, b, 'bool');
export const less = (a: Operand, b: Operand): Value => broadcast('Less', a, b, 'bool');
export const lessOrEqual = (a: Operand, b: Operand): Value => broadcast('LessOrEqual', a, b, 'bool');
export const greater = (a: Operand, b: Operand): Value => broadcast('Greater', a, b, 'bool');
export const greaterOrEqual = (a: Operand, b: Operand): Value => broadcast('GreaterOrEqual', a, b, 'bool');

function logical(op: 'And' | 'Or', a: Value, b: Value): Value {
  requireType(op, a, 'bool');
  return broadcast(op, a, b, 'bool');
}
export const and = (a: Value, b: Value): Value => logical('And', a, b);
export const or = (a: Value, b: Value): Value => logical('Or', a, b);

export function not(x: Value): Value {
  requireType('Not', x, 'bool');
  return single('Not', [x], 'bool', x.shape);
}

function unary(op: SupportedOp, x: Value): Value {
  requireType(op, x, 'float32');
  return single(op, [x], 'float32', x.shape);
}

export const abs = (x: Value): Value => unary('Abs', x);
export const exp = (x: Value): Value => unary('Exp', x);
export const log = (x: Value): Value => unary('Log', x);
export const neg = (x: Value): Value => unary('Neg', x);
export const reciprocal = (x: Value): Value => unary('Reciprocal', x);
export const sigmoid = (x: Value): Value => unary('Sigmoid', x);
export const sign = (x: Value): Value => unary('Sign', x);
export const sqrt = (x: Value): Value => unary('Sqrt', x);
export const tanh = (x: Value): Value => unary('Tanh', x);

/** The same values; autodiff takes it as "no gradient flows through here" (sg in the papers). */
export const stopGradient = (x: Value): Value => single('Identity', [x], x.dtype, x.shape);

/** x·sigmoid(x), in one pass. com.microsoft.QuickGelu with alpha 1. */
export function silu(x: Value): Value {
  requireType('QuickGelu', x, 'float32');
  return single('QuickGelu', [x], 'float32', x.shape, { alpha: float(1) });
}

/** Values moved into [low, high]. */
export function clip(x: Value, low: number, high: number): Value {
  requireType('Clip', x, 'float32');
  return single('Clip', [x, x.graph.scalar('float32', low), x.graph.scalar('float32', high)], 'float32', x.shape);
}

/** `condition ? a : b`, broadcasting all three. At least one of a, b is a value. */
export function where(condition: Value, a: Operand, b: Operand): Value {
  requireType('Where', condition, 'bool');
  const [left, right] = operands('Where', a, b);
  requireSameType('Where', left, right);
  const both = broadcastShapes(left.shape, right.shape);
  const shape = both && broadcastShapes(condition.shape, both);
  if (!shape) throw shapeError('Where', [condition, left, right], 'shapes do not broadcast');
  return single('Where', [condition, left, right], left.dtype, shape);
}

const ONNX_TYPE: Readonly<Record<DType, number>> = { float32: 1, int32: 6, int64: 7, bool: 9 };

export function cast(x: Value, dtype: DType): Value {
  return x.dtype === dtype ? x : single('Cast', [x], dtype, x.shape, { to: int(ONNX_TYPE[dtype]) });
}

// --- matrix products ------------------------------------------------------------------------------------------------

function batchedProduct(
  op: SupportedOp,
  a: Value,
  b: Value,
  transA: boolean,
  transB: boolean,
  attributes: Attributes,
): Value {
  requireType(op, a, 'float32');
  requireType(op, b, 'float32');
  if (a.shape.length < 2 || b.shape.length < 2) throw shapeError(op, [a, b], 'both need rank ≥ 2');
  const [rows, innerA] = matrixDims(a, transA);
  const [innerB, columns] = matrixDims(b, transB);
  if (innerA !== innerB) throw shapeError(op, [a, b], `inner dimensions ${innerA} and ${innerB} differ`);
  const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2));
  if (!batch) throw shapeError(op, [a, b], 'batch dimensions do not broadcast');
  return single(op, [a, b], 'float32', [...batch, rows, columns], attributes);
}

function matrixDims(value: Value, transposed: boolean): readonly [Dim, Dim] {
  const [rows, columns] = [value.shape.at(-2)!, value.shape.at(-1)!];
  return transposed ? [columns, rows] : [rows, columns];
}

/** Batched matrix product, ranks ≥ 2. */
export const matMul = (a: Value, b: Value): Value => batchedProduct('MatMul', a, b, false, false, {});

export interface FusedMatMulOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly alpha?: number;
}

/** alpha · op(a) · op(b), batched. com.microsoft.FusedMatMul. */
export function fusedMatMul(a: Value, b: Value, options: FusedMatMulOptions = {}): Value {
  const { transA = false, transB = false, alpha = 1 } = options;
  const attributes = { transA: int(transA ? 1 : 0), transB: int(transB ? 1 : 0), alpha: float(alpha) };
  return batchedProduct('FusedMatMul', a, b, transA, transB, attributes);
}

export interface GemmOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
  /** added to the product; broadcasts to [rows, columns] */
  readonly bias?: Value;
}

/** op(a) · op(b) + bias of two matrices. */
export function gemm(a: Value, b: Value, options: GemmOptions = {}): Value {
  const { transA = false, transB = false, bias } = options;
  const inputs = bias ? [a, b, bias] : [a, b];
  for (const value of inputs) requireType('Gemm', value, 'float32');
  if (a.shape.length !== 2 || b.shape.length !== 2) throw shapeError('Gemm', inputs, 'both must be matrices');
  const [rows, innerA] = matrixDims(a, transA);
  const [innerB, columns] = matrixDims(b, transB);
  if (innerA !== innerB) throw shapeError('Gemm', inputs, `inner dimensions ${innerA} and ${innerB} differ`);
  const shape = [rows, columns];
  const biased = bias ? broadcastShapes(shape, bias.shape) : shape;
  if (!biased || !sameShape(shape, biased))
    throw shapeError('Gemm', inputs, `bias does not broadcast to ${printShape(shape)}`);
  return single('Gemm', inputs, 'float32', shape, { transA: int(transA ? 1 : 0), transB: int(transB ? 1 : 0) });
}

// --- reductions -----------------------------------------------------------------------------------------------------

export interface ReduceOptions {
  /** default: all */
  readonly axes?: readonly number[];
  /** keep reduced axes with size 1; default false */
  readonly keepDims?: boolean;
}

function reduce(op: 'ReduceSum' | 'ReduceMean' | 'ReduceMax', x: Value, options: ReduceOptions): Value {
  requireType(op, x, 'float32', 'int64', 'int32');
  const axes = (options.axes ?? x.shape.map((_, axis) => axis)).map((axis) => checkedAxis(op, x, axis));
  if (axes.length === 0) return x;
  const keep = options.keepDims ?? false;
  const shape = x.shape.flatMap((dim, axis) => (axes.includes(axis) ? (keep ? [1] : []) : [dim]));
  return single(op, [x, x.graph.constantInt64(axes)], x.dtype, shape, { keepdims: int(keep ? 1 : 0) });
}
export const reduceSum = (x: Value, options: ReduceOptions = {}): Value => reduce('ReduceSum', x, options);
export const reduceMean = (x: Value, options: ReduceOptions = {}): Value => reduce('ReduceMean', x, options);
export const reduceMax = (x: Value, options: ReduceOptions = {}): Value => reduce('ReduceMax', x, options);

function normalised(op: 'Softmax' | 'LogSoftmax', x: Value): Value {
  requireType(op, x, 'float32');
  const axis = checkedAxis(op, x, -1);
  return single(op, [x], 'float32', x.shape, { axis: int(axis) });
}
/** Over the last axis. */
export const softmax = (x: Value): Value => normalised('Softmax', x);
/** Over the last axis. */
export const logSoftmax = (x: Value): Value => normalised('LogSoftmax', x);

/**
 * RMSNorm over the last axis: y = x · inverseRms · scale, inverseRms = 1/√(mean(x²) + epsilon), shape [..., 1].
 * ONNX Runtime's SimplifiedLayerNormalization (default domain, not in the ONNX standard).
 */
export function rmsNorm(x: Value, scale: Value, epsilon: number): { readonly y: Value; readonly inverseRms: Value } {
  const op = 'SimplifiedLayerNormalization';
  requireType(op, x, 'float32');
  if (scale.shape.length !== 1 || scale.shape[0] !== x.shape.at(-1))
    throw shapeError(op, [x, scale], 'scale must be [last axis]');
  const outputs = [
    { dtype: 'float32', shape: x.shape },
    { dtype: 'float32', shape: [...x.shape.slice(0, -1), 1] },
  ] as const;
  const attributes = { axis: int(-1), epsilon: float(epsilon), stash_type: int(1) };
  const [y, inverseRms] = x.graph.node(op, [x, scale], outputs, attributes);
  return { y: y!, inverseRms: inverseRms! };
}

/**
 * Rotary position embedding of half-split pairs (i, i + headDim/2), Hugging Face's layout.
 * com.microsoft.RotaryEmbedding.
 * @param x [batch, tokens, heads·headDim], or [batch, heads, tokens, headDim]
 * @param positions int64[batch, tokens], or int64[1]: the position of every sequence's first token
 * @param cos, sin [maxPositions, headDim/2]
 */
export function rotaryEmbedding(x: Value, positions: Value, cos: Value, sin: Value): Value {
  const op = 'RotaryEmbedding';
  requireType(op, x, 'float32');
  requireType(op, positions, 'int64');
  const half = cos.shape[1];
  const grid = x.shape.length === 4 ? [x.shape[0]!, x.shape[2]!] : x.shape.slice(0, 2);
  const placed = sameShape(positions.shape, [1]) || sameShape(positions.shape, grid);
  if (x.shape.length < 3 || x.shape.length > 4 || !placed) {
    throw shapeError(op, [x, positions], 'expected x as documented and positions [batch, tokens] or [1]');
  }
  if (
    cos.shape.length !== 2 ||
    !sameShape(cos.shape, sin.shape) ||
    typeof half !== 'number' ||
    divideDims(x.shape.at(-1)!, 2 * half) === null
  ) {
    throw shapeError(op, [x, cos, sin], 'cos and sin must be [positions, headDim/2]');
  }
  return single(op, [x, positions, cos, sin], 'float32', x.shape);
}

// --- indexing -------------------------------------------------------------------------------------------------------

/** Rows of `data` along axis 0: result [...indices.shape, ...data.shape without its first]. */
export function gather(data: Value, indices: Value): Value {
  requireType('Gather', indices, 'int64', 'int32');
  checkedAxis('Gather', data, 0);
  return single('Gather', [data, indices], data.dtype, [...indices.shape, ...data.shape.slice(1)], { axis: int(0) });
}

/** out[..., k] = data[..., indices[..., k]] over the last axis; the other axes agree. */
export function gatherElements(data: Value, indices: Value): Value {
  requireType('GatherElements', indices, 'int64', 'int32');
  if (!sameShape(data.shape.slice(0, -1), indices.shape.slice(0, -1))) {
    throw shapeError('GatherElements', [data, indices], 'all axes but the last must agree');
  }
  return single('GatherElements', [data, indices], data.dtype, indices.shape, { axis: int(data.shape.length - 1) });
}

/** data with updates added at indices along the last axis; indices may repeat. */
export function scatterElementsAdd(data: Value, indices: Value, updates: Value): Value {
  const op = 'ScatterElements';
  requireType(op, indices, 'int64', 'int32');
  requireSameType(op, data, updates);
  if (!sameShape(indices.shape, updates.shape) || !sameShape(data.shape.slice(0, -1), indices.shape.slice(0, -1))) {
    throw shapeError(op, [data, indices, updates], 'indices and updates must agree, and all axes of data but the last');
  }
  const attributes = { axis: int(data.shape.length - 1), reduction: { kind: 'string', value: 'add' } } as const;
  return single(op, [data, indices, updates], data.dtype, data.shape, attributes);
}

/** data with rows of updates added at rows indices[..., 0]; indices may repeat. */
export function scatterRowsAdd(data: Value, indices: Value, updates: Value): Value {
  const op = 'ScatterND';
  requireType(op, indices, 'int64');
  requireSameType(op, data, updates);
  const expected = [...indices.shape.slice(0, -1), ...data.shape.slice(1)];
  if (indices.shape.at(-1) !== 1 || !sameShape(updates.shape, expected)) {
    throw shapeError(op, [data, indices, updates], `expected indices [..., 1] and updates ${printShape(expected)}`);
  }
  return single(op, [data, indices, updates], data.dtype, data.shape, { reduction: { kind: 'string', value: 'add' } });
}

// --- shapes ---------------------------------------------------------------------------------------------------------

/** Run-time size of a dimension as int64[1]. */
export function dimTensor(graph: GraphBuilder, dim: Dim): Value {
  const { coefficient, factors } = dimFactors(dim);
  let product: Value | null = coefficient === 1 && factors.length > 0 ? null : graph.constantInt64([coefficient]);
  for (const factor of factors) {
    const terms = sumTerms(factor);
    const size = terms ? terms.map((term) => dimTensor(graph, term)).reduce(add) : symbolTensor(graph, factor);
    product = product ? mul(product, size) : size;
  }
  return product!;
}

function symbolTensor(graph: GraphBuilder, symbol: string): Value {
  const { value, axis } = graph.symbolSource(symbol);
  return single('Shape', [value], 'int64', [1], { start: int(axis), end: int(axis + 1) });
}

/** Run-time shape as int64[rank]. */
export const shapeOf = (x: Value): Value => single('Shape', [x], 'int64', [x.shape.length]);

function shapeTensor(graph: GraphBuilder, shape: Shape): Value {
  if (shape.every((dim) => typeof dim === 'number')) return graph.constantInt64(shape);
  return shape.length === 1
    ? dimTensor(graph, shape[0]!)
    : concat(
        shape.map((dim) => dimTensor(graph, dim)),
        0,
      );
}

/** The same elements in another shape; a symbolic target is worked out from the tensors that carry the symbols. */
export function reshape(x: Value, shape: Shape): Value {
  const target = shape.map((dim) => multiplyDims([dim]));
  if (sameShape(x.shape, target)) return x;
  const producer = x.graph.producer(x);
  if (producer?.op === 'Reshape') return reshape(producer.inputs[0]!, shape);
  if (multiplyDims(x.shape) !== multiplyDims(target)) {
    throw shapeError('Reshape', [x], `cannot become ${printShape(target)}: the number of elements differs`);
  }
  let inferred = 0;
  const fixed = target.map((dim, axis) => {
    if (typeof dim === 'number') return dim;
    if (dim === x.shape[axis]) return 0;
    inferred++;
    return -1;
  });
  const tensor = inferred <= 1 ? x.graph.constantInt64(fixed) : shapeTensor(x.graph, target);
  return single('Reshape', [x, tensor], x.dtype, target);
}

export function transpose(x: Value, permutation: readonly number[]): Value {
  const sorted = [...permutation].sort((a, b) => a - b);
  if (permutation.length !== x.shape.length || sorted.some((axis, k) => axis !== k)) {
    throw shapeError('Transpose', [x], `[${permutation.join(', ')}] is no permutation of its axes`);
  }
  return single(
    'Transpose',
    [x],
    x.dtype,
    permutation.map((axis) => x.shape[axis]!),
    { perm: ints(permutation) },
  );
}

/** Repeats axes of size 1 (or absent ones) to reach `shape`. */
export function expand(x: Value, shape: Shape): Value {
  if (sameShape(x.shape, shape)) return x;
  const result = broadcastShapes(x.shape, shape);
  if (!result || !sameShape(result, shape)) throw shapeError('Expand', [x], `cannot become ${printShape(shape)}`);
  return single('Expand', [x, shapeTensor(x.graph, shape)], x.dtype, shape);
}

export function concat(values: readonly Value[], axis: number): Value {
  const first = values[0]!;
  const at = checkedAxis('Concat', first, axis);
  for (const value of values) {
    requireSameType('Concat', first, value);
    const agree =
      value.shape.length === first.shape.length && value.shape.every((dim, k) => k === at || dim === first.shape[k]);
    if (!agree) throw shapeError('Concat', values, `all axes but ${at} must agree`);
  }
  const shape = first.shape.with(at, addDims(values.map((value) => value.shape[at]!)));
  return single('Concat', values, first.dtype, shape, { axis: int(at) });
}

/** Elements from ≤ k < to of one axis; `from`, `to` are int64[1] values and `size` is their difference as a dimension. */
export function sliceBetween(x: Value, axis: number, from: Value, to: Value, size: Dim): Value {
  const at = checkedAxis('Slice', x, axis);
  requireType('Slice', from, 'int64');
  requireType('Slice', to, 'int64');
  return single('Slice', [x, from, to, x.graph.constantInt64([at])], x.dtype, x.shape.with(at, size));
}

/** Elements start ≤ k < start + size of one axis; both may be symbolic dimensions. */
export function slice(x: Value, axis: number, start: Dim, size: Dim): Value {
  const whole = x.shape[checkedAxis('Slice', x, axis)]!;
  if (typeof start === 'number' && typeof size === 'number' && typeof whole === 'number' && start + size > whole) {
    throw shapeError('Slice', [x], `[${start}, ${start + size}) is not inside axis ${axis}`);
  }
  const from = dimTensor(x.graph, start);
  return sliceBetween(x, axis, from, dimTensor(x.graph, addDims([start, size])), size);
}

/** The parts of one axis, one after the other; `sizes` are dimensions that add up to it. */
export function split(x: Value, axis: number, sizes: Shape): Value[] {
  const at = checkedAxis('Split', x, axis);
  if (addDims(sizes) !== x.shape[at])
    throw shapeError('Split', [x], `${printShape(sizes)} do not add up to axis ${at}`);
  const outputs = sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.with(at, size) }));
  return x.graph.node('Split', [x, shapeTensor(x.graph, sizes)], outputs, { axis: int(at) });
}

/** Zeros before and after one axis; `before`, `after` are int64[1] values and `size` is the new size as a dimension. */
export function pad(x: Value, axis: number, before: Value, after: Value, size: Dim): Value {
  const at = checkedAxis('Pad', x, axis);
  requireType('Pad', x, 'float32');
  const inputs = [x, concat([before, after], 0), x.graph.scalar('float32', 0), x.graph.constantInt64([at])];
  return single('Pad', inputs, x.dtype, x.shape.with(at, size));
}

/** A tensor of one float32 value. */
export function fill(graph: GraphBuilder, shape: Shape, value: number): Value {
  return expand(graph.scalar('float32', value), shape);
}

/** 0, 1, … size − 1 as int64[size]. */
export function range(graph: GraphBuilder, size: Dim): Value {
  const limit = reshape(dimTensor(graph, size), []);
  return single('Range', [graph.scalar('int64', 0), limit, graph.scalar('int64', 1)], 'int64', [size]);
}

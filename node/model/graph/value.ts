// What a graph is made of: typed values and the nodes that compute them. Nodes stay inspectable, for autodiff.

import type { GraphBuilder } from './builder.ts';
import type { Shape } from './dim.ts';

export type DType = 'float32' | 'int64' | 'int32' | 'bool';

/** One tensor in a graph. `shape` may be symbolic; rank and dtype are always known. */
export interface Value {
  readonly graph: GraphBuilder;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

/** An operand: a value, or a number that becomes a scalar constant of the other operand's dtype. */
export type Operand = Value | number;

/** ONNX operators that the builder writes; all run on ONNX Runtime's CPU and WebGPU providers (or fall back per node). */
export type SupportedOp =
  | 'Abs'
  | 'Add'
  | 'And'
  | 'Cast'
  | 'Clip'
  | 'Concat'
  | 'Div'
  | 'Equal'
  | 'Exp'
  | 'Expand'
  | 'FusedMatMul'
  | 'Gather'
  | 'GatherElements'
  | 'Gemm'
  | 'Greater'
  | 'GreaterOrEqual'
  | 'Identity'
  | 'Less'
  | 'LessOrEqual'
  | 'Log'
  | 'LogSoftmax'
  | 'MatMul'
  | 'Max'
  | 'Min'
  | 'Mul'
  | 'Neg'
  | 'Not'
  | 'Or'
  | 'Pad'
  | 'QuickGelu'
  | 'Range'
  | 'Reciprocal'
  | 'ReduceMax'
  | 'ReduceMean'
  | 'ReduceSum'
  | 'Reshape'
  | 'RotaryEmbedding'
  | 'ScatterElements'
  | 'ScatterND'
  | 'Shape'
  | 'Sigmoid'
  | 'Sign'
  | 'SimplifiedLayerNormalization'
  | 'Slice'
  | 'Softmax'
  | 'Split'
  | 'Sqrt'
  | 'Sub'
  | 'Tanh'
  | 'Transpose'
  | 'Where';

/** Operators of the com.microsoft domain; the others are ONNX's own. */
export const CONTRIB_OPS: ReadonlySet<SupportedOp> = new Set(['FusedMatMul', 'QuickGelu', 'RotaryEmbedding']);

export type Attribute =
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'string'; readonly value: string };

export type Attributes = Readonly<Record<string, Attribute>>;

export interface GraphNode {
  readonly op: SupportedOp;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: Attributes;
}

/** A tensor that is part of the model file. */
export interface Initializer {
  readonly value: Value;
  readonly data: Float32Array | BigInt64Array | Int32Array | Uint8Array;
}

export const int = (value: number): Attribute => ({ kind: 'int', value });
export const float = (value: number): Attribute => ({ kind: 'float', value });
export const ints = (value: readonly number[]): Attribute => ({ kind: 'ints', value });

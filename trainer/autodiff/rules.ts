// The table of gradient rules, total by type: an operator without a rule does not compile.

import type { SupportedOp } from '../../node/model/graph/value.ts';
import { noGradient, type VjpRule } from './rule.ts';
import * as elementwise from './rules/elementwise.ts';
import * as matrix from './rules/matrix.ts';
import * as movement from './rules/movement.ts';
import * as reduction from './rules/reduction.ts';

export const RULES: { readonly [Op in SupportedOp]: VjpRule } = {
  Abs: elementwise.absRule,
  Add: elementwise.addRule,
  And: noGradient,
  Cast: elementwise.castRule,
  Clip: elementwise.clipRule,
  Concat: movement.concatRule,
  Div: elementwise.divRule,
  Equal: noGradient,
  Exp: elementwise.expRule,
  Expand: movement.expandRule,
  FusedMatMul: matrix.fusedMatMulRule,
  Gather: movement.gatherRule,
  GatherElements: movement.gatherElementsRule,
  Gemm: matrix.gemmRule,
  Greater: noGradient,
  GreaterOrEqual: noGradient,
  // the builder writes Identity for stopGradient only
  Identity: noGradient,
  Less: noGradient,
  LessOrEqual: noGradient,
  Log: elementwise.logRule,
  LogSoftmax: reduction.logSoftmaxRule,
  MatMul: matrix.matMulRule,
  Max: elementwise.maxRule,
  Min: elementwise.minRule,
  Mul: elementwise.mulRule,
  Neg: elementwise.negRule,
  Not: noGradient,
  Or: noGradient,
  Pad: movement.padRule,
  QuickGelu: elementwise.siluRule,
  Range: noGradient,
  Reciprocal: elementwise.reciprocalRule,
  ReduceMax: reduction.reduceMaxRule,
  ReduceMean: reduction.reduceMeanRule,
  ReduceSum: reduction.reduceSumRule,
  Reshape: movement.reshapeRule,
  RotaryEmbedding: movement.rotaryRule,
  ScatterElements: movement.scatterElementsRule,
  ScatterND: movement.scatterRowsRule,
  Shape: noGradient,
  Sigmoid: elementwise.sigmoidRule,
  // zero almost everywhere
  Sign: noGradient,
  SimplifiedLayerNormalization: reduction.rmsNormRule,
  Slice: movement.sliceRule,
  Softmax: reduction.softmaxRule,
  Split: movement.splitRule,
  Sqrt: elementwise.sqrtRule,
  Sub: elementwise.subRule,
  Tanh: elementwise.tanhRule,
  Transpose: movement.transposeRule,
  Where: elementwise.whereRule,
};

// Sums of gradients without a pass of their own: a Gemm adds to what is there, and a scatter scatters into it.

import { add, gemm, scatterRowsAdd } from '../../node/model/graph/ops.ts';
import type { GraphNode, Value } from '../../node/model/graph/value.ts';

const isSet = (node: GraphNode, name: string): boolean => {
  const attribute = node.attributes[name];
  return attribute?.kind === 'int' && attribute.value === 1;
};

function isZeros(value: Value): boolean {
  const node = value.graph.producer(value);
  if (node?.op !== 'Expand') return false;
  return value.graph.initializers.some((constant) => constant.value === node.inputs[0] && constant.data[0] === 0);
}

/** sum + more; what made `more` is replaced where it can add by itself, and then computed only if others read it. */
export function accumulate(sum: Value, more: Value): Value {
  const node = more.graph.producer(more);
  const [a, b, third] = node?.inputs ?? [];
  if (node?.op === 'Gemm' && !third)
    return gemm(a!, b!, { transA: isSet(node, 'transA'), transB: isSet(node, 'transB'), bias: sum });
  if (node?.op === 'ScatterND' && isZeros(a!)) return scatterRowsAdd(sum, b!, third!);
  return add(sum, more);
}

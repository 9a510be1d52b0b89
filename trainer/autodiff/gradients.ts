// Reverse-mode differentiation of a built graph: the backward nodes are appended to the same graph.
// Left out: second derivatives are not tested (though rules are made of differentiable operators), no checkpointing.

import type { GraphBuilder } from '../../node/model/graph/builder.ts';
import { multiplyDims, printShape, sameShape } from '../../node/model/graph/dim.ts';
import { GraphError } from '../../node/model/graph/error.ts';
import { add, fill } from '../../node/model/graph/ops.ts';
import type { GraphNode, Value } from '../../node/model/graph/value.ts';
import { RULES } from './rules.ts';

/**
 * Gradients of a scalar by any values of the graph.
 * @param loss float32 with one element
 * @param wrt float32 values that the loss was computed from
 * @returns ∂loss/∂wrt[i] of wrt[i]'s shape; zeros where the loss does not depend on it
 * @throws {GraphError} GRAPH_SHAPE when the loss is no scalar, GRAPH_TYPE when something is not float32
 */
export function gradients(graph: GraphBuilder, loss: Value, wrt: readonly Value[]): Value[] {
  for (const value of [loss, ...wrt]) {
    graph.check(value);
    if (value.dtype !== 'float32')
      throw new GraphError('GRAPH_TYPE', `gradients: ${value.name} is ${value.dtype}, not float32`);
  }
  if (multiplyDims(loss.shape) !== 1) {
    throw new GraphError(
      'GRAPH_SHAPE',
      `gradients: loss ${loss.name} ${printShape(loss.shape)} is no scalar; sum it first`,
    );
  }
  const active = dependents(graph, wrt);
  const total = new Map<Value, Value>([[loss, fill(graph, loss.shape, 1)]]);
  for (const node of graph.nodes.slice().reverse()) {
    if (node.outputs.some((output) => active.has(output))) propagate(node, total, active);
  }
  return wrt.map((value) => total.get(value) ?? fill(graph, value.shape, 0));
}

/** Every value that is computed from one of `roots`. */
function dependents(graph: GraphBuilder, roots: readonly Value[]): ReadonlySet<Value> {
  const found = new Set(roots);
  for (const node of graph.nodes) {
    if (node.inputs.some((input) => found.has(input))) for (const output of node.outputs) found.add(output);
  }
  return found;
}

function propagate(node: GraphNode, total: Map<Value, Value>, active: ReadonlySet<Value>): void {
  const incoming = node.outputs.map((output) => total.get(output) ?? null);
  if (incoming.every((gradient) => gradient === null)) return;
  const outgoing = RULES[node.op](node, incoming);
  for (const [k, gradient] of outgoing.entries()) {
    const input = node.inputs[k]!;
    if (!gradient || !active.has(input)) continue;
    if (!sameShape(gradient.shape, input.shape)) {
      const shapes = `${printShape(gradient.shape)} for ${input.name} ${printShape(input.shape)}`;
      throw new GraphError('GRAPH_SHAPE', `gradient rule of ${node.op} (${node.outputs[0]!.name}) gives ${shapes}`, {
        op: node.op,
      });
    }
    const sum = total.get(input);
    total.set(input, sum ? add(sum, gradient) : gradient);
  }
}

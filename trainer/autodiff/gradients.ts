// Gradients of a scalar by values of its graph.

import type { GraphBuilder } from '../../node/model/graph/builder.ts';
import { multiplyDims, printShape } from '../../node/model/graph/dim.ts';
import { GraphError } from '../../node/model/graph/error.ts';
import { fill } from '../../node/model/graph/ops.ts';
import type { Value } from '../../node/model/graph/value.ts';
import { createTape, type Tape } from './tape.ts';

/** What gradients may begin with: a tape that knows regions, and sums of earlier gradients to add to. */
export interface GradientOptions {
  readonly tape?: Tape;
  /** by value of `wrt`, of its shape */
  readonly sums?: ReadonlyMap<Value, Value>;
}

/**
 * Gradients of a scalar by any values of the graph.
 * @param loss float32 with one element
 * @param wrt float32 values that the loss was computed from
 * @returns ∂loss/∂wrt[i] of wrt[i]'s shape; zeros where the loss does not depend on it
 * @throws {GraphError} GRAPH_SHAPE when the loss is no scalar, GRAPH_TYPE when something is not float32
 */
export function gradients(
  graph: GraphBuilder,
  loss: Value,
  wrt: readonly Value[],
  { tape = createTape(graph), sums = new Map() }: GradientOptions = {},
): Value[] {
  if (multiplyDims(loss.shape) !== 1) {
    throw new GraphError(
      'GRAPH_SHAPE',
      `gradients: loss ${loss.name} ${printShape(loss.shape)} is no scalar; sum it first`,
    );
  }
  return tape.pullback(new Map([...sums, [loss, fill(graph, loss.shape, 1)]]), wrt);
}

// Reverse-mode differentiation of a built graph: the backward nodes are appended to the same graph. A part of the graph may
// come with a gradient of its own: one that needs fewer passes than the operators' rules, or that computes the part anew.
// Left out: second derivatives are not tested (though rules are made of differentiable operators).
// Invariant: every value's cotangent is complete before the node that made the value is asked for its inputs'.

import type { GraphBuilder } from '../../node/model/graph/builder.ts';
import { printShape, sameShape } from '../../node/model/graph/dim.ts';
import { GraphError } from '../../node/model/graph/error.ts';
import { fill } from '../../node/model/graph/ops.ts';
import type { GraphNode, Value } from '../../node/model/graph/value.ts';
import { accumulate } from './accumulate.ts';
import { RULES } from './rules.ts';

/** A part with its own gradient: nodes from ≤ k < to. */
interface Region {
  readonly from: number;
  readonly to: number;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly backward: Backward;
}

/** Cotangents of a region's outputs in (null: the loss does not depend on it), those of its inputs out. */
export type Backward = (cotangents: readonly (Value | null)[]) => readonly (Value | null)[];

export interface Tape {
  /**
   * Appends a part of the graph whose gradient is `backward` instead of its operators' rules.
   * @param inputs all values from outside that gradients flow to
   * @param forward appends at least one node; nothing but what it returns may be read outside
   */
  region(inputs: readonly Value[], forward: () => readonly Value[], backward: Backward): readonly Value[];
  /**
   * Vector-Jacobian product.
   * @param seeds cotangents to begin with; a value of `wrt` may have one, which is added to
   * @returns cotangents of `wrt`, of their shapes; zeros where no seed's value depends on one
   * @throws {GraphError} GRAPH_TYPE when something is not float32, GRAPH_SHAPE when a rule gives another shape
   */
  pullback(seeds: ReadonlyMap<Value, Value>, wrt: readonly Value[]): Value[];
}

/** A tape of one graph; parts of the graph that were not added through it have their operators' gradients. */
export function createTape(graph: GraphBuilder): Tape {
  const regions: Region[] = [];
  return {
    region(inputs, forward, backward) {
      const from = graph.nodes.length;
      const outputs = forward();
      const to = graph.nodes.length;
      const made = new Set(graph.nodes.slice(from).flatMap((node) => node.outputs));
      const shared = outputs.find((output) => !made.has(output));
      if (shared)
        throw new GraphError('GRAPH_SHAPE', `a region gives ${shared.name}, which is older than it; take it out`);
      regions.push({ from, to, inputs, outputs, backward });
      return outputs;
    },
    pullback(seeds, wrt) {
      for (const value of [...seeds.keys(), ...wrt]) {
        graph.check(value);
        if (value.dtype !== 'float32')
          throw new GraphError('GRAPH_TYPE', `gradients: ${value.name} is ${value.dtype}, not float32`);
      }
      const walk = new Walk(seeds, dependents(graph, wrt));
      const endingAt = new Map(regions.map((region) => [region.to, region]));
      const nodes = graph.nodes.slice();
      for (let k = nodes.length; k > 0; k--) {
        const region = endingAt.get(k);
        if (region) {
          walk.region(region);
          k = region.from + 1;
        } else walk.node(nodes[k - 1]!);
      }
      return wrt.map((value) => walk.total.get(value) ?? fill(graph, value.shape, 0));
    },
  };
}

/** Every value that is computed from one of `roots`. */
function dependents(graph: GraphBuilder, roots: readonly Value[]): ReadonlySet<Value> {
  const found = new Set(roots);
  for (const node of graph.nodes) {
    if (node.inputs.some((input) => found.has(input))) for (const output of node.outputs) found.add(output);
  }
  return found;
}

/** One way back through the graph. */
class Walk {
  readonly total: Map<Value, Value>;
  readonly #active: ReadonlySet<Value>;

  constructor(seeds: ReadonlyMap<Value, Value>, active: ReadonlySet<Value>) {
    this.total = new Map(seeds);
    this.#active = active;
  }

  node(node: GraphNode): void {
    this.#step(node.op, node.inputs, node.outputs, (cotangents) => RULES[node.op](node, cotangents));
  }

  region({ inputs, outputs, backward }: Region): void {
    this.#step('region', inputs, outputs, backward);
  }

  #step(name: string, inputs: readonly Value[], outputs: readonly Value[], backward: Backward): void {
    if (!outputs.some((output) => this.#active.has(output))) return;
    const incoming = outputs.map((output) => this.total.get(output) ?? null);
    if (incoming.every((cotangent) => cotangent === null)) return;
    for (const [k, cotangent] of backward(incoming).entries()) {
      const input = inputs[k]!;
      if (!cotangent || !this.#active.has(input)) continue;
      if (!sameShape(cotangent.shape, input.shape)) {
        const shapes = `${printShape(cotangent.shape)} for ${input.name} ${printShape(input.shape)}`;
        throw new GraphError('GRAPH_SHAPE', `gradient rule of ${name} (${outputs[0]!.name}) gives ${shapes}`, {
          op: name,
        });
      }
      const sum = this.total.get(input);
      this.total.set(input, sum ? accumulate(sum, cotangent) : cotangent);
    }
  }
}

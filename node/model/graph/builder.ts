// A small typed graph builder: holds nodes, checks that values belong together, shares equal subexpressions.
// The operators themselves are in ops.ts (one function each), the bytes in encode.ts.
// Invariant: nodes are in topological order; node k reads only inputs, constants and outputs of nodes before k.

import { type Dim, dimFactors, multiplyDims, printShape, type Shape } from './dim.ts';
import { GraphError } from './error.ts';
import type { Attributes, DType, GraphNode, Initializer, SupportedOp, Value } from './value.ts';

/** Shape and type of one output of a node that is being added. */
export interface OutputSpec {
  readonly dtype: DType;
  readonly shape: Shape;
}

export class GraphBuilder {
  readonly name: string;
  readonly nodes: GraphNode[] = [];
  readonly inputs: Value[] = [];
  readonly initializers: Initializer[] = [];
  readonly outputs: { readonly name: string; readonly value: Value }[] = [];
  readonly #producers = new Map<Value, GraphNode>();
  readonly #shared = new Map<string, GraphNode>();
  readonly #constants = new Map<string, Value>();
  readonly #symbols = new Map<string, { readonly value: Value; readonly axis: number }>();

  constructor(name: string) {
    this.name = name;
  }

  /** Declares a tensor that is fed at run time. Symbolic dimensions may be single names or products of them. */
  input(name: string, dtype: DType, shape: Shape): Value {
    if (this.inputs.some((value) => value.name === name)) {
      throw new GraphError('GRAPH_SHAPE', `graph ${this.name}: input ${name} is declared twice; use other names`);
    }
    const value = this.#value(name, dtype, shape);
    this.inputs.push(value);
    return value;
  }

  /** A float32 tensor in the model file. */
  constant(data: Float32Array | readonly number[], shape: Shape = [data.length]): Value {
    return this.#constant('float32', Float32Array.from(data), shape);
  }

  /** An int64 tensor in the model file (shapes, indices). */
  constantInt64(data: readonly number[], shape: Shape = [data.length]): Value {
    return this.#constant('int64', BigInt64Array.from(data, BigInt), shape);
  }

  /** An int32 tensor in the model file (token ids). */
  constantInt32(data: readonly number[], shape: Shape = [data.length]): Value {
    return this.#constant('int32', Int32Array.from(data), shape);
  }

  /** A scalar (rank 0) of any dtype. */
  scalar(dtype: DType, value: number): Value {
    if (dtype === 'int64') return this.constantInt64([value], []);
    if (dtype === 'int32') return this.constantInt32([value], []);
    if (dtype === 'bool') return this.#constant('bool', Uint8Array.of(value), []);
    return this.constant([value], []);
  }

  /** Names a result. @throws {GraphError} GRAPH_SHAPE when the name is taken */
  output(name: string, value: Value): void {
    this.check(value);
    if (this.outputs.some((output) => output.name === name)) {
      throw new GraphError('GRAPH_SHAPE', `graph ${this.name}: output ${name} is named twice; use other names`);
    }
    this.outputs.push({ name, value });
  }

  /** Appends a node, or returns the equal one that is there already. For ops.ts; call the operators instead. */
  node(
    op: SupportedOp,
    inputs: readonly Value[],
    outputs: readonly OutputSpec[],
    attributes: Attributes = {},
  ): Value[] {
    for (const value of inputs) this.check(value);
    const key = JSON.stringify([op, inputs.map((value) => value.name), attributes]);
    const known = this.#shared.get(key);
    if (known) return [...known.outputs];
    const index = this.nodes.length;
    const values = outputs.map((spec, k) =>
      this.#value(outputs.length === 1 ? `${op}_${index}` : `${op}_${index}.${k}`, spec.dtype, spec.shape),
    );
    const node: GraphNode = { op, inputs: [...inputs], outputs: values, attributes };
    this.nodes.push(node);
    this.#shared.set(key, node);
    for (const value of values) this.#producers.set(value, node);
    return values;
  }

  /** The node that computes `value`; undefined for inputs and constants. */
  producer(value: Value): GraphNode | undefined {
    return this.#producers.get(value);
  }

  /** A tensor of this graph whose axis has the size of the symbol. @throws {GraphError} GRAPH_SHAPE for unknown symbols */
  symbolSource(symbol: string): { readonly value: Value; readonly axis: number } {
    const source = this.#symbols.get(symbol);
    if (!source) {
      throw new GraphError(
        'GRAPH_SHAPE',
        `graph ${this.name}: no tensor has an axis of size "${symbol}"; declare an input with it`,
      );
    }
    return source;
  }

  /** @throws {GraphError} GRAPH_TYPE when the value belongs to another graph */
  check(value: Value): void {
    if (value.graph !== this) {
      throw new GraphError(
        'GRAPH_TYPE',
        `${value.name} ${printShape(value.shape)} belongs to graph ${value.graph.name}, not ${this.name}`,
      );
    }
  }

  #constant(dtype: DType, data: Initializer['data'], shape: Shape): Value {
    if (multiplyDims(shape) !== data.length) {
      throw new GraphError(
        'GRAPH_SHAPE',
        `constant of shape ${printShape(shape)} has ${data.length} elements; they must agree`,
      );
    }
    const key = data.length <= 16 ? `${dtype}|${shape.join()}|${data.join()}` : null;
    const known = key === null ? undefined : this.#constants.get(key);
    if (known) return known;
    const value = this.#value(`constant_${this.initializers.length}`, dtype, shape);
    this.initializers.push({ value, data });
    if (key !== null) this.#constants.set(key, value);
    return value;
  }

  #value(name: string, dtype: DType, shape: Shape): Value {
    const canonical: Dim[] = shape.map((dim) => multiplyDims([dim]));
    const value: Value = { graph: this, name, dtype, shape: canonical };
    for (const [axis, dim] of canonical.entries()) {
      const { coefficient, factors } = dimFactors(dim);
      if (coefficient === 1 && factors.length === 1 && !this.#symbols.has(factors[0]!)) {
        this.#symbols.set(factors[0]!, { value, axis });
      }
    }
    return value;
  }
}

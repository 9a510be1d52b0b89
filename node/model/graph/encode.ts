// A built graph as the bytes of an ONNX ModelProto. Nodes that no output needs are left out.
// Source: onnx.proto (onnx-buf), IR version 10, opset 21 and com.microsoft 1.

import { create, toBinary } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import type { GraphBuilder } from './builder.ts';
import { GraphError } from './error.ts';
import { type Attribute, CONTRIB_OPS, type DType, type GraphNode, type Initializer, type Value } from './value.ts';

const IR_VERSION = 10n;
const OPSET = 21n;

const DATA_TYPE: Readonly<Record<DType, TensorProto_DataType>> = {
  float32: TensorProto_DataType.FLOAT,
  int32: TensorProto_DataType.INT32,
  int64: TensorProto_DataType.INT64,
  bool: TensorProto_DataType.BOOL,
};

/** Where an input's values lie in a file beside the model file; offsets and lengths in bytes. */
export interface StoredTensor {
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
}

/**
 * The model file of a graph, ready for `InferenceSession.create`.
 * @param stored inputs, by name, that become initializers whose values are in other files
 * @throws {GraphError} GRAPH_SHAPE when no output is named
 */
export function encodeModel(
  graph: GraphBuilder,
  stored: ReadonlyMap<string, StoredTensor> = new Map(),
): Uint8Array<ArrayBuffer> {
  if (graph.outputs.length === 0)
    throw new GraphError('GRAPH_SHAPE', `graph ${graph.name} names no output; call output()`);
  const { nodes, values } = needed(graph);
  const nameOf = outputNames(graph);
  const copies = graph.outputs.filter(({ name, value }) => nameOf(value) !== name);
  const inputs = graph.inputs.filter((value) => values.has(value));
  const model = create(ModelProtoSchema, {
    irVersion: IR_VERSION,
    producerName: 'murmuration',
    opsetImport: [
      { domain: '', version: OPSET },
      { domain: 'com.microsoft', version: 1n },
    ],
    graph: {
      name: graph.name,
      node: [
        ...nodes.map((node) => encodeNode(node, nameOf)),
        ...copies.map(({ name, value }) =>
          create(NodeProtoSchema, { opType: 'Identity', input: [nameOf(value)], output: [name] }),
        ),
      ],
      initializer: [
        ...graph.initializers.filter(({ value }) => values.has(value)).map(encodeInitializer),
        ...inputs.flatMap((value) => {
          const place = stored.get(value.name);
          return place ? [encodeStored(value, place)] : [];
        }),
      ],
      input: inputs.filter((value) => !stored.has(value.name)).map((value) => valueInfo(value, value.name)),
      output: graph.outputs.map(({ name, value }) => valueInfo(value, name)),
    },
  });
  return toBinary(ModelProtoSchema, model);
}

/** Names of the inputs that the outputs depend on: exactly what has to be fed. */
export function requiredInputs(graph: GraphBuilder): readonly string[] {
  const { values } = needed(graph);
  return graph.inputs.filter((value) => values.has(value)).map((value) => value.name);
}

function needed(graph: GraphBuilder): { readonly nodes: readonly GraphNode[]; readonly values: ReadonlySet<Value> } {
  const values = new Set(graph.outputs.map(({ value }) => value));
  const nodes: GraphNode[] = [];
  for (const node of graph.nodes.toReversed()) {
    if (!node.outputs.some((value) => values.has(value))) continue;
    nodes.push(node);
    for (const value of node.inputs) values.add(value);
  }
  return { nodes: nodes.reverse(), values };
}

/** A computed value goes by the name of its first output, so that no copy is needed. */
function outputNames(graph: GraphBuilder): (value: Value) => string {
  const names = new Map<Value, string>();
  for (const { name, value } of graph.outputs) {
    if (graph.producer(value) && !names.has(value)) names.set(value, name);
  }
  return (value) => names.get(value) ?? value.name;
}

function encodeNode(node: GraphNode, nameOf: (value: Value) => string): NodeProto {
  return create(NodeProtoSchema, {
    name: node.outputs[0]!.name,
    opType: node.op,
    domain: CONTRIB_OPS.has(node.op) ? 'com.microsoft' : '',
    input: node.inputs.map(nameOf),
    output: node.outputs.map(nameOf),
    attribute: Object.entries(node.attributes).map(([name, attribute]) => encodeAttribute(name, attribute)),
  });
}

function encodeAttribute(name: string, attribute: Attribute): AttributeProto {
  const type = AttributeProto_AttributeType;
  switch (attribute.kind) {
    case 'int':
      return create(AttributeProtoSchema, { name, type: type.INT, i: BigInt(attribute.value) });
    case 'float':
      return create(AttributeProtoSchema, { name, type: type.FLOAT, f: attribute.value });
    case 'ints':
      return create(AttributeProtoSchema, { name, type: type.INTS, ints: attribute.value.map(BigInt) });
    case 'string':
      return create(AttributeProtoSchema, { name, type: type.STRING, s: new TextEncoder().encode(attribute.value) });
  }
}

function encodeInitializer({ value, data }: Initializer): TensorProto {
  return create(TensorProtoSchema, {
    name: value.name,
    dataType: DATA_TYPE[value.dtype],
    dims: value.shape.map((dim) => BigInt(dim)),
    rawData: new Uint8Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer),
  });
}

function encodeStored(value: Value, { file, offset, byteLength }: StoredTensor): TensorProto {
  return create(TensorProtoSchema, {
    name: value.name,
    dataType: DATA_TYPE[value.dtype],
    dims: value.shape.map((dim) => BigInt(dim)),
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: [
      { key: 'location', value: file },
      { key: 'offset', value: String(offset) },
      { key: 'length', value: String(byteLength) },
    ],
  });
}

function valueInfo(value: Value, name: string): ValueInfoProto {
  const dim = value.shape.map((size) =>
    typeof size === 'number'
      ? { value: { case: 'dimValue' as const, value: BigInt(size) } }
      : { value: { case: 'dimParam' as const, value: size } },
  );
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: 'tensorType', value: { elemType: DATA_TYPE[value.dtype], shape: { dim } } } },
  });
}

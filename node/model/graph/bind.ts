// Moves inputs of an encoded model into it, as initializers whose bytes stay outside ("external data" of onnx.proto): what
// never changes while a session lives is then on its device from the start. The bytes go to the session beside the model.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
  type ValueInfoProto,
} from 'onnx-buf';

/** One tensor to be moved. */
export interface BoundTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A model without those inputs, and the files that the session is told of. */
export interface BoundModel {
  readonly model: Uint8Array<ArrayBuffer>;
  readonly externalData: { readonly path: string; readonly data: Uint8Array }[];
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/**
 * @param model bytes of a ModelProto
 * @param tensors by input name; those that are no input of the model are left out
 */
export function bindInputs(model: Uint8Array, tensors: ReadonlyMap<string, BoundTensor>): BoundModel {
  const proto = fromBinary(ModelProtoSchema, model);
  const graph = proto.graph!;
  const bound = graph.input.filter(({ name }: ValueInfoProto) => tensors.has(name));
  const entry = (key: string, value: string) => create(StringStringEntryProtoSchema, { key, value });
  for (const { name } of bound) {
    const { shape, data } = tensors.get(name)!;
    graph.initializer.push(
      create(TensorProtoSchema, {
        name,
        dataType: TensorProto_DataType.FLOAT,
        dims: shape.map(BigInt),
        dataLocation: TensorProto_DataLocation.EXTERNAL,
        externalData: [entry('location', name), entry('offset', '0'), entry('length', String(data.byteLength))],
      }),
    );
  }
  graph.input = graph.input.filter(({ name }: ValueInfoProto) => !tensors.has(name));
  return {
    model: toBinary(ModelProtoSchema, proto),
    externalData: bound.map(({ name }) => ({ path: name, data: bytesOf(tensors.get(name)!.data) })),
  };
}

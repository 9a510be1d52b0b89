// The weights of a policy as the rest of the project holds them: float32 arrays under Hugging Face's names.
// Long-lived: ONNX Runtime is fed from these very arrays (zero-copy) and the optimizer updates them in place.

/** One tensor: row-major values, `data.length` is the product of `shape`. */
export interface WeightTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Tensor name (Hugging Face's) to tensor; a tied head occurs once, as `model.embed_tokens.weight`. */
export type Weights = ReadonlyMap<string, WeightTensor>;

/** Number of values that a shape holds; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dimension of shape) count *= dimension;
  return count;
}

/** Number of parameters, and four times that in bytes of memory. */
export function parameterCount(weights: Weights): number {
  let count = 0;
  for (const tensor of weights.values()) count += tensor.data.length;
  return count;
}

/** Names in the order of their UTF-8 bytes: the order of every file and hash of weights. */
export function namesInByteOrder(names: Iterable<string>): string[] {
  return [...names].sort((a, b) => Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8')));
}

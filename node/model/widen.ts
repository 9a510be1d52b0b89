// 16-bit floats -> float32 inside the array that they end in, so that reading a tensor takes no second copy of it.
// The bit patterns lie in the upper half of the array's bytes; going upwards, each value is read before it is written
// over: word i covers bytes 4i … 4i+3, pattern j > i begins at 2n + 2j ≥ 4i + 4.

/** The upper half of an array's bytes, for 16-bit patterns to be read into. */
export function upperHalf(values: Float32Array): Uint8Array {
  const bytes = 2 * values.length;
  return new Uint8Array(values.buffer, values.byteOffset + bytes, bytes);
}

function patternsOf(values: Float32Array): readonly [Uint16Array, Uint32Array] {
  const { buffer, byteOffset, length } = values;
  return [new Uint16Array(buffer, byteOffset + 2 * length, length), new Uint32Array(buffer, byteOffset, length)];
}

/** bfloat16 patterns in the upper half become the values that they stand for, exactly. */
export function widenBf16(values: Float32Array): void {
  const [bits, words] = patternsOf(values);
  for (let i = 0; i < words.length; i++) words[i] = bits[i]! << 16;
}

/** The same of IEEE 754 binary16. */
export function widenF16(values: Float32Array): void {
  const [bits, words] = patternsOf(values);
  for (let i = 0; i < words.length; i++) {
    const b = bits[i]!;
    const sign = (b & 0x8000) << 16;
    const exponent = (b >>> 10) & 31;
    const fraction = b & 1023;
    if (exponent === 0) values[i] = (sign === 0 ? fraction : -fraction) * 2 ** -24;
    else if (exponent === 31) words[i] = sign | 0x7f800000 | (fraction << 13);
    else words[i] = sign | ((exponent + 112) << 23) | (fraction << 13);
  }
}

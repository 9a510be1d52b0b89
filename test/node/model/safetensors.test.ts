// The safetensors codec: exact round trips, and files made to break it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { roundToBf16InPlace } from '../../../node/model/bf16.ts';
import { writeSafetensors } from '../../../node/model/safetensors.ts';
import type { Weights } from '../../../node/model/weights.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { parseSafetensors } from '../../support/parse-safetensors.ts';

const weightsArb: fc.Arbitrary<Weights> = fc
  .uniqueArray(fc.tuple(fc.string(), fc.array(fc.nat(3), { maxLength: 3 })), {
    maxLength: 5,
    selector: ([name]) => name,
  })
  .map((specs) => {
    const entries = specs
      .filter(([name]) => name !== '__metadata__')
      .map(([name, shape], k) => {
        const count = shape.reduce((product, dimension) => product * dimension, 1);
        return [
          name.toWellFormed(),
          { shape, data: Float32Array.from({ length: count }, (_, i) => (i + 1) / (k + 3)) },
        ] as const;
      });
    return new Map(entries);
  });

test('float32 files come back equal, and equal weights give equal bytes', async () => {
  await fc.assert(
    fc.asyncProperty(weightsArb, async (weights) => {
      const bytes = writeSafetensors(weights, 'F32');
      const back = await parseSafetensors(bytes);
      assert.deepEqual(new Map([...back].sort()), new Map([...weights].sort()));
      assert.deepEqual(writeSafetensors(new Map([...weights].reverse()), 'F32'), bytes);
    }),
  );
});

test('a bf16 file holds the rounded weights', async () => {
  await fc.assert(
    fc.asyncProperty(weightsArb, async (weights) => {
      const back = await parseSafetensors(writeSafetensors(weights, 'BF16'));
      const rounded = structuredClone(weights);
      roundToBf16InPlace(rounded);
      assert.deepEqual(new Map([...back].sort()), new Map([...rounded].sort()));
    }),
  );
});

/** A file of a header (text or object), with its length as claimed or true, and data. */
function file(header: object | string, data: number, claimed?: bigint): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimed ?? BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(data)]);
}
const tensor = (shape: unknown, offsets: unknown, dtype: unknown = 'F32') => ({ dtype, shape, data_offsets: offsets });

/** What a binary16 pattern stands for, by the standard's formula. */
function binary16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** What a bfloat16 pattern stands for: the upper half of a float32. */
function bfloat16(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint16(0, bits);
  return view.getFloat32(0);
}

for (const [dtype, meaning] of [
  ['F16', binary16],
  ['BF16', bfloat16],
] as const) {
  test(`every ${dtype} pattern is read exactly, from an odd place in the file too`, async () => {
    // one value before it, so that the tensor begins at an odd multiple of two
    const header = { a: tensor([1], [0, 2], dtype), w: tensor([65_536], [2, 2 + 131_072], dtype) };
    const bytes = file(header, 2 + 131_072);
    const view = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 131_072);
    for (let bits = 0; bits < 65_536; bits++) view.setUint16(2 * bits, bits, true);
    const { data } = (await parseSafetensors(bytes)).get('w')!;
    for (let bits = 0; bits < 65_536; bits++) {
      if (!Object.is(data[bits], meaning(bits)))
        assert.fail(`${bits.toString(16)}: ${data[bits]}, not ${meaning(bits)}`);
    }
  });
}

const hostile: Record<string, Uint8Array> = {
  empty: new Uint8Array(0),
  'seven bytes': new Uint8Array(7),
  'header length of 2^63': file('{}', 0, 1n << 63n),
  'header length of 100 MB': file('{}', 0, 100_000_000n),
  'header longer than the file': file('{}', 0, 3n),
  'header not JSON': file('{"w":', 0),
  'header not UTF-8': file(Buffer.from([0x7b, 0xff, 0x7d]).toString('latin1'), 0, 4n),
  'header an array': file('[]', 0),
  'header null': file('null', 0),
  'tensor null': file({ w: null }, 0),
  'no shape': file({ w: tensor(undefined, [0, 4]) }, 4),
  'negative dimension': file({ w: tensor([-1], [0, 4]) }, 4),
  'fractional dimension': file({ w: tensor([0.5], [0, 2]) }, 2),
  'rank 9': file({ w: tensor([1, 1, 1, 1, 1, 1, 1, 1, 1], [0, 4]) }, 4),
  'sizes that overflow': file({ w: tensor([2 ** 40, 2 ** 40], [0, 4]) }, 4),
  'offsets backwards': file({ w: tensor([1], [8, 4]) }, 8),
  'offsets past the end': file({ w: tensor([2], [0, 8]) }, 4),
  'offsets as text': file({ w: tensor([1], ['0', '4']) }, 4),
  'bytes unlike the shape': file({ w: tensor([2], [0, 4]) }, 4),
  overlap: file({ a: tensor([2], [0, 8]), b: tensor([1], [4, 8]) }, 8),
  hole: file({ a: tensor([1], [0, 4]), b: tensor([1], [8, 12]) }, 12),
  'bytes after the end': file({ w: tensor([1], [0, 4]) }, 5),
  truncated: file({ w: tensor([1000], [0, 4000]) }, 3999),
};

for (const [name, bytes] of Object.entries(hostile)) {
  test(`refuses: ${name}`, async () => {
    await assert.rejects(parseSafetensors(bytes), (error) => isSwarmError(error, 'MODEL_FILE_CORRUPT'));
  });
}

test('refuses types that are no weights, by code', async () => {
  const bytes = file({ w: tensor([1], [0, 8], 'I64') }, 8);
  await assert.rejects(parseSafetensors(bytes), (error) => isSwarmError(error, 'UNSUPPORTED_MODEL'));
});

test('any prefix and any byte flipped in the header gives weights or a coded error, nothing else', async () => {
  const whole = writeSafetensors(new Map([['w', { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]]), 'F32');
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length), async (at, value, length) => {
      const bytes = whole.slice(0, length);
      if (at < length) bytes[at] = value;
      await parseSafetensors(bytes).catch((error) => {
        assert.ok(isSwarmError(error, 'MODEL_FILE_CORRUPT', 'UNSUPPORTED_MODEL'), String(error));
      });
    }),
    { numRuns: 500 },
  );
});

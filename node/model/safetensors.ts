// The safetensors format: header length u64 LE ‖ JSON header ‖ tensor bytes, row-major, little-endian.
// Source: https://github.com/huggingface/safetensors#format. Files come from strangers: every number in the header is
// checked against the file's size before it is used, and the tensors must cover the data exactly, without overlap.

import { type FileHandle, open } from 'node:fs/promises';
import { SwarmError } from '../protocol/errors.ts';
import { toBf16Bits } from './bf16.ts';
import { missingModelFile } from './small-files.ts';
import { elementCount, namesInByteOrder, type Weights, type WeightTensor } from './weights.ts';
import { upperHalf, widenBf16, widenF16 } from './widen.ts';

const MAX_HEADER_BYTES = 16 << 20;
const MAX_RANK = 8;
const BYTES_OF = { F32: 4, F16: 2, BF16: 2 } as const;

/** Types that weights are read from; others are refused. */
export type WeightDtype = keyof typeof BYTES_OF;

/** One tensor's place in a file; `start` counts from the beginning of the file. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: WeightDtype;
  readonly shape: readonly number[];
  readonly start: number;
  readonly byteLength: number;
}

/** Where bytes come from: a buffer or a file. */
interface Source {
  readonly name: string;
  readonly byteLength: number;
  /** fills `target` with the bytes from `start` on */
  readInto(target: Uint8Array, start: number): Promise<void>;
}

function corrupt(name: string, reason: string): SwarmError {
  return new SwarmError('MODEL_FILE_CORRUPT', `${name} is not a whole safetensors file: ${reason}. Fetch it again.`, {
    file: name,
  });
}

function headerLength(name: string, first: Uint8Array, byteLength: number): number {
  if (first.length < 8) throw corrupt(name, `${byteLength} bytes, fewer than 8`);
  const length = new DataView(first.buffer, first.byteOffset).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) throw corrupt(name, `its header claims ${length} bytes`);
  if (8 + Number(length) > byteLength) throw corrupt(name, `truncated inside its header`);
  return Number(length);
}

function entryOf(file: string, name: string, raw: unknown, dataStart: number, byteLength: number): TensorEntry {
  const fields = (typeof raw === 'object' && raw !== null ? raw : {}) as Record<string, unknown>;
  const { dtype, shape, data_offsets: offsets } = fields;
  if (typeof dtype !== 'string') throw corrupt(file, `tensor ${name} has no dtype`);
  if (!Object.hasOwn(BYTES_OF, dtype)) {
    throw new SwarmError(
      'UNSUPPORTED_MODEL',
      `${file}: tensor ${name} has dtype ${dtype.slice(0, 20)}; supported: F32, F16, BF16.`,
      { file },
    );
  }
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!Array.isArray(shape) || shape.length > MAX_RANK || !shape.every(isCount)) {
    throw corrupt(file, `tensor ${name} has no valid shape`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw corrupt(file, `tensor ${name} has no valid offsets`);
  }
  const [begin, end] = offsets as [number, number];
  const expected = elementCount(shape) * BYTES_OF[dtype as WeightDtype];
  if (end - begin !== expected) throw corrupt(file, `tensor ${name} has ${end - begin} bytes, its shape ${expected}`);
  if (dataStart + end > byteLength) throw corrupt(file, `truncated inside tensor ${name}`);
  return { name, dtype: dtype as WeightDtype, shape: [...shape], start: dataStart + begin, byteLength: end - begin };
}

/** Entries in file order. */
function parseHeader(file: string, header: Uint8Array, byteLength: number): TensorEntry[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(header));
  } catch {
    throw corrupt(file, 'its header is not JSON');
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw corrupt(file, 'its header is not an object');
  }
  const dataStart = 8 + header.length;
  const entries = Object.entries(parsed)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, raw]) => entryOf(file, name, raw, dataStart, byteLength))
    .sort((a, b) => a.start - b.start || a.byteLength - b.byteLength);
  let at = dataStart;
  for (const entry of entries) {
    if (entry.start !== at) throw corrupt(file, `a hole or an overlap before tensor ${entry.name}`);
    at += entry.byteLength;
  }
  if (at !== byteLength) throw corrupt(file, `${byteLength - at} bytes after its last tensor`);
  return entries;
}

function bufferSource(bytes: Uint8Array, name: string): Source {
  return {
    name,
    byteLength: bytes.length,
    readInto: async (target, start) => target.set(bytes.subarray(start, start + target.length)),
  };
}

function fileSource(handle: FileHandle, name: string, byteLength: number): Source {
  return {
    name,
    byteLength,
    async readInto(target, start) {
      for (let done = 0; done < target.length; ) {
        const { bytesRead } = await handle.read(target, done, target.length - done, start + done);
        if (bytesRead === 0) throw corrupt(name, 'it shrank while being read');
        done += bytesRead;
      }
    },
  };
}

async function bytesFrom(source: Source, start: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await source.readInto(bytes, start);
  return bytes;
}

async function entriesOf(source: Source): Promise<TensorEntry[]> {
  const first = await bytesFrom(source, 0, Math.min(8, source.byteLength));
  const length = headerLength(source.name, first, source.byteLength);
  return parseHeader(source.name, await bytesFrom(source, 8, length), source.byteLength);
}

/** Reads a tensor into the one array that it ends in: nothing else of its size is ever held. */
async function tensorOf(source: Source, { dtype, shape, start }: TensorEntry): Promise<WeightTensor> {
  const data = new Float32Array(elementCount(shape));
  if (dtype === 'F32') {
    await source.readInto(new Uint8Array(data.buffer), start);
  } else {
    await source.readInto(upperHalf(data), start);
    if (dtype === 'BF16') widenBf16(data);
    else widenF16(data);
  }
  return { shape, data };
}

/** An open file, or one in memory, whose header has been checked. */
export interface SafetensorsFile {
  readonly path: string;
  /** in file order */
  readonly entries: readonly TensorEntry[];
  /** the values as float32, exactly */
  tensor(entry: TensorEntry): Promise<WeightTensor>;
  /** the stored bytes from an offset within the tensor on, as many as `target` takes */
  bytes(entry: TensorEntry, offset: number, target: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

async function fileOf(source: Source, close: () => Promise<void>): Promise<SafetensorsFile> {
  return {
    path: source.name,
    entries: await entriesOf(source),
    tensor: (entry) => tensorOf(source, entry),
    bytes: (entry, offset, target) => source.readInto(target, entry.start + offset),
    close,
  };
}

/**
 * Reads the header of a file in memory.
 * @param name what an error calls it
 * @throws {SwarmError} MODEL_FILE_CORRUPT, UNSUPPORTED_MODEL (a dtype)
 */
export function safetensorsInMemory(bytes: Uint8Array, name: string = 'weights'): Promise<SafetensorsFile> {
  return fileOf(bufferSource(bytes, name), async () => undefined);
}

/**
 * Opens a file and reads its header.
 * @throws {SwarmError} MODEL_FILE_MISSING, MODEL_FILE_CORRUPT, UNSUPPORTED_MODEL
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw missingModelFile(path, cause);
  });
  try {
    return await fileOf(fileSource(handle, path, (await handle.stat()).size), () => handle.close());
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Reads all tensors of a file on disk as float32.
 * @throws {SwarmError} MODEL_FILE_MISSING, MODEL_FILE_CORRUPT, UNSUPPORTED_MODEL
 */
export async function readSafetensors(path: string): Promise<Weights> {
  const file = await openSafetensors(path);
  try {
    const weights = new Map<string, WeightTensor>();
    for (const entry of file.entries) weights.set(entry.name, await file.tensor(entry));
    return weights;
  } finally {
    await file.close();
  }
}

/** A tensor as bf16 bit patterns. */
export interface Bf16Tensor {
  readonly shape: readonly number[];
  readonly bits: Uint16Array;
}

/** The header of a file with these tensors in byte order of their names, padded to 8 bytes. */
function headerFor(
  shapes: ReadonlyMap<string, readonly number[]>,
  dtype: 'F32' | 'BF16',
  metadata: Readonly<Record<string, string>> | null = null,
): Uint8Array {
  const header: Record<string, unknown> = Object.create(null);
  if (metadata !== null) header['__metadata__'] = metadata;
  let offset = 0;
  for (const name of namesInByteOrder(shapes.keys())) {
    const shape = shapes.get(name)!;
    const end = offset + elementCount(shape) * BYTES_OF[dtype];
    header[name] = { dtype, shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(header), 'utf8');
  const padded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  padded.writeBigUInt64LE(BigInt(padded.length - 8));
  json.copy(padded, 8);
  return padded;
}

const shapesOf = (tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>) =>
  new Map([...tensors].map(([name, { shape }]) => [name, shape]));

const bytesOf = (values: Float32Array | Uint16Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/**
 * The bytes of a safetensors file of the weights, header first, then a tensor at a time, so that no second copy of the
 * weights is ever in memory; equal weights give equal bytes. BF16 rounds to nearest even.
 * @param metadata free text of the header, such as what wrote it
 */
export function* safetensorsPieces(
  weights: Weights,
  dtype: 'F32' | 'BF16',
  metadata: Readonly<Record<string, string>> | null = null,
): Generator<Uint8Array> {
  yield headerFor(shapesOf(weights), dtype, metadata);
  for (const name of namesInByteOrder(weights.keys())) {
    const { data } = weights.get(name)!;
    yield bytesOf(dtype === 'F32' ? data : toBf16Bits(data));
  }
}

/** The pieces in one buffer. */
export function writeSafetensors(weights: Weights, dtype: 'F32' | 'BF16'): Uint8Array {
  return Buffer.concat([...safetensorsPieces(weights, dtype)]);
}

/** A file in memory, and its tensors as views of it. */
export interface Bf16File {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** in byte order of their names */
  readonly tensors: ReadonlyMap<string, Bf16Tensor>;
}

/**
 * A safetensors file of bit patterns, all zero: filling its tensors makes it the bytes that `writeSafetensors(…, 'BF16')` gives,
 * and no second copy of them is ever in memory.
 */
export function emptyBf16Safetensors(shapes: ReadonlyMap<string, readonly number[]>): Bf16File {
  const header = headerFor(shapes, 'BF16');
  const names = namesInByteOrder(shapes.keys());
  const count = names.reduce((sum, name) => sum + elementCount(shapes.get(name)!), 0);
  const bytes = new Uint8Array(header.length + count * BYTES_OF.BF16);
  bytes.set(header);
  const tensors = new Map<string, Bf16Tensor>();
  let at = header.length;
  for (const name of names) {
    const shape = shapes.get(name)!;
    const bits = new Uint16Array(bytes.buffer, at, elementCount(shape));
    tensors.set(name, { shape, bits });
    at += bits.byteLength;
  }
  return { bytes, tensors };
}

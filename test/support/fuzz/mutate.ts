// Damage to bytes, from one random stream: single bytes, slices, whole protobuf fields, and growth up to a decoder's limit.
// Deterministic: the same stream and parents give the same children.

import { writeVarint } from '../../../node/protocol/packed.ts';

/** Whole numbers in [0, bound). */
export type Pick = (bound: number) => number;

/** @param random uniform in [0, 1) */
export function picker(random: () => number): Pick {
  return (bound) => Math.floor(random() * bound);
}

/** How a child is made of a parent and another seed of the same decoder. */
export type Mutator = (pick: Pick, parent: Uint8Array, other: Uint8Array, maxBytes: number) => Uint8Array;

const INTERESTING_BYTES = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x20, 0x22, 0x5b, 0x7b];
/** Lengths and values at the edges of what varints hold. */
const INTERESTING_VARINTS = [0, 1, 31, 33, 127, 128, 255, 65_535, 65_536, 2 ** 20, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
const LONG_VARINTS = [
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0x80, 0x80, 0x80, 0x80, 0x10],
  [0x80, 0x00],
];
/** One child in so many is grown: it costs more than a thousand small ones. */
const GROW_ONE_IN = 2_000;

export function joined(...parts: readonly ArrayLike<number>[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function varint(value: number): Uint8Array {
  const out = new Uint8Array(5);
  return out.subarray(0, writeVarint(out, 0, value));
}

function oddVarint(pick: Pick): ArrayLike<number> {
  if (pick(4) === 0) return LONG_VARINTS[pick(LONG_VARINTS.length)]!;
  return varint(INTERESTING_VARINTS[pick(INTERESTING_VARINTS.length)]!);
}

function slice(pick: Pick, bytes: Uint8Array): readonly [number, number] {
  const from = pick(bytes.length + 1);
  return [from, Math.min(bytes.length, from + 1 + pick(pick(4) === 0 ? bytes.length + 1 : 8))];
}

const BYTE_DAMAGES: readonly Mutator[] = [
  (pick, parent) => {
    const child = parent.slice();
    if (child.length > 0) child[pick(child.length)]! ^= 1 << pick(8);
    return child;
  },
  (pick, parent) => {
    const child = parent.slice();
    if (child.length > 0) child[pick(child.length)] = INTERESTING_BYTES[pick(INTERESTING_BYTES.length)]!;
    return child;
  },
  (pick, parent) => {
    const child = parent.slice();
    const [from, to] = slice(pick, child);
    for (let i = from; i < to; i++) child[i] = pick(256);
    return child;
  },
  (pick, parent) => parent.slice(0, pick(parent.length + 1)),
  (pick, parent) => {
    const [from, to] = slice(pick, parent);
    return joined(parent.subarray(0, from), parent.subarray(to));
  },
  (pick, parent) => {
    const [from, to] = slice(pick, parent);
    return joined(parent.subarray(0, to), parent.subarray(from));
  },
  (pick, parent) => {
    const at = pick(parent.length + 1);
    return joined(parent.subarray(0, at), oddVarint(pick), parent.subarray(at));
  },
  (pick, parent) => {
    const at = pick(parent.length + 1);
    return joined(parent.subarray(0, at), oddVarint(pick), parent.subarray(Math.min(parent.length, at + 1 + pick(4))));
  },
  (pick, parent, other) => joined(parent.subarray(0, pick(parent.length + 1)), other.subarray(pick(other.length + 1))),
];

/** A field of an encoded message: its tag begins at `start`, its content at `content`. */
interface Field {
  readonly start: number;
  readonly content: number;
  readonly end: number;
  readonly number: number;
  readonly wireType: number;
}

function varintAt(bytes: Uint8Array, at: number): readonly [number, number] | null {
  let value = 0;
  for (let i = 0; i < 10; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) return null;
    value += (byte & 0x7f) * 128 ** i;
    if (byte < 0x80) return [value, at + i + 1];
  }
  return null;
}

/** The fields at the top level, as far as they can be read. */
export function fieldsOf(bytes: Uint8Array): readonly Field[] {
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = varintAt(bytes, at);
    if (tag === null) break;
    const [wireType, number] = [tag[0] & 7, Math.floor(tag[0] / 8)];
    const head = wireType === 0 || wireType === 2 ? varintAt(bytes, tag[1]) : null;
    const content = wireType === 2 ? head?.[1] : tag[1];
    const end =
      wireType === 2 ? head && head[1] + head[0] : wireType === 0 ? head?.[1] : tag[1] + (wireType === 1 ? 8 : 4);
    if (content === undefined || end === null || end === undefined || end > bytes.length || end <= at) break;
    fields.push({ start: at, content, end, number, wireType });
    at = end;
  }
  return fields;
}

function field(number: number, wireType: number, content: ArrayLike<number>): Uint8Array {
  const length = wireType === 2 ? varint(content.length) : [];
  return joined(varint(number * 8 + wireType), length, content);
}

/** Leaves the bytes around one field as they are and puts `parts` in its place. */
function inPlaceOf(bytes: Uint8Array, { start, end }: Field, ...parts: readonly ArrayLike<number>[]): Uint8Array {
  return joined(bytes.subarray(0, start), ...parts, bytes.subarray(end));
}

const FIELD_DAMAGES: readonly ((pick: Pick, bytes: Uint8Array, one: Field, other: Uint8Array) => Uint8Array)[] = [
  (_pick, bytes, one) => inPlaceOf(bytes, one),
  (_pick, bytes, one) => joined(bytes, bytes.subarray(one.start, one.end)),
  (pick, bytes, one) => {
    const whole = bytes.subarray(one.start, one.end);
    return inPlaceOf(bytes, one, ...Array.from({ length: 1 + pick(40) }, () => whole));
  },
  (pick, bytes, one) =>
    inPlaceOf(bytes, one, varint((1 + pick(20)) * 8 + pick(6)), bytes.subarray(one.content, one.end)),
  (pick, bytes, one) => inPlaceOf(bytes, one, field(one.number, pick(2) * 2, oddVarint(pick))),
  (pick, bytes, one) => inPlaceOf(bytes, one, field(one.number, 2, new Uint8Array(pick(80)).fill(pick(256)))),
  (pick, bytes, one) => inPlaceOf(bytes, one, varint(one.number * 8 + 2), oddVarint(pick), bytes.subarray(one.content)),
  (pick, bytes, one) => {
    const groups = new Uint8Array(1 + pick(300)).fill(3 + 8 * (1 + pick(15)));
    return inPlaceOf(bytes, one, groups, bytes.subarray(one.start, one.end));
  },
  (pick, bytes, one, other) => {
    const theirs = fieldsOf(other).filter(({ number }) => number === one.number || pick(4) === 0);
    const taken = theirs[pick(theirs.length)];
    return taken === undefined ? bytes.slice() : inPlaceOf(bytes, one, other.subarray(taken.start, taken.end));
  },
];

/** Damage that knows where fields begin; goes into nested messages half of the time. */
const damageField: Mutator = (pick, parent, other, maxBytes) => {
  const fields = fieldsOf(parent);
  const one = fields[pick(fields.length)];
  if (one === undefined) return BYTE_DAMAGES[pick(BYTE_DAMAGES.length)]!(pick, parent, other, maxBytes);
  if (one.wireType === 2 && one.end - one.content > 2 && pick(2) === 0) {
    const inner = mutateProtobuf(pick, parent.subarray(one.content, one.end), other, maxBytes);
    return inPlaceOf(parent, one, field(one.number, 2, inner));
  }
  return FIELD_DAMAGES[pick(FIELD_DAMAGES.length)]!(pick, parent, one, other);
};

/** Repeats something small until the limit is near, or just passed: where lists and buffers are allocated. */
const grow: Mutator = (pick, parent, _other, maxBytes) => {
  const size = Math.ceil(Math.exp(Math.log(256) + (pick(1000) / 999) * Math.log(maxBytes / 256))) + pick(3) - 1;
  const [from, to] = slice(pick, parent);
  const fields = fieldsOf(parent);
  const one = fields[pick(fields.length)];
  const units = [
    parent.subarray(from, Math.max(to, Math.min(from + 1, parent.length))),
    Uint8Array.of((1 + pick(12)) * 8 + 2, 0),
    Uint8Array.of((1 + pick(12)) * 8, pick(256) & 0x7f),
    one === undefined ? Uint8Array.of(pick(256)) : parent.subarray(one.start, one.end),
  ];
  const unit = units[pick(units.length)]!;
  const filler = new Uint8Array(Math.max(0, size - (pick(2) === 0 ? 0 : parent.length)));
  for (let at = 0; at < filler.length && unit.length > 0; at += unit.length) {
    filler.set(unit.subarray(0, filler.length - at), at);
  }
  // As one length-delimited field, or as it is; behind a whole message, or alone.
  const grown = one !== undefined && pick(2) === 0 ? field(one.number, 2, filler.subarray(0, -12)) : filler;
  return pick(2) === 0 ? grown : joined(parent, grown);
};

/** One to four damages of any kind to an encoded message. */
export const mutateProtobuf: Mutator = (pick, parent, other, maxBytes) => {
  if (pick(GROW_ONE_IN) === 0) return grow(pick, parent, other, maxBytes);
  let child = parent;
  for (let left = 1 + pick(pick(3) === 0 ? 4 : 1); left > 0; left--) {
    const damage = pick(2) === 0 ? damageField : BYTE_DAMAGES[pick(BYTE_DAMAGES.length)]!;
    child = damage(pick, child, other, maxBytes);
  }
  return child;
};

/** One to four damages to bytes without any structure that we know. */
export const mutateBytes: Mutator = (pick, parent, other, maxBytes) => {
  if (pick(GROW_ONE_IN) === 0) return grow(pick, parent, other, maxBytes);
  let child = parent;
  for (let left = 1 + pick(4); left > 0; left--) {
    child = BYTE_DAMAGES[pick(BYTE_DAMAGES.length)]!(pick, child, other, maxBytes);
  }
  return child;
};

// Damage to JSON that stays JSON: values of other types and edges, fields added, doubled and taken away, deep nesting.

import { utf8 } from '../../../node/protocol/bytes.ts';
import { type Mutator, mutateBytes, type Pick } from './mutate.ts';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const EDGES: readonly Json[] = [
  null,
  true,
  0,
  -0,
  -1,
  1,
  0.5,
  1e-320,
  1e308,
  2 ** 31,
  2 ** 53,
  2 ** 53 + 2,
  8.64e15 + 1,
  '',
  'a',
  '\u0000',
  '\ud800',
  'constructor',
  '__proto__',
  '0'.repeat(64),
  'x'.repeat(5_000),
  [],
  {},
  [[]],
  { length: 2 ** 32 },
];
const NAMES = ['__proto__', 'constructor', 'toString', 'length', 'version', 'then', 'toJSON', ''];
const DEEPEST = 20_000;

function edge(pick: Pick): Json {
  if (pick(40) > 0) return structuredClone(EDGES[pick(EDGES.length)]!);
  let deep: Json = pick(2) === 0 ? [] : {};
  for (let depth = 1 + pick(pick(20) === 0 ? DEEPEST : 40); depth > 0; depth--)
    deep = pick(2) === 0 ? [deep] : { a: deep };
  return deep;
}

function nudged(pick: Pick, value: number): number {
  return [value + 1, value - 1, 2 * value, value / 2, -value, 10 * value, 1e9 * value][pick(7)]!;
}

function edited(pick: Pick, text: string): string {
  const at = pick(text.length + 1);
  return text.slice(0, at) + ['', 'a', '0', '-', ' ', '\u0000', 'é', '\ud800'][pick(8)]! + text.slice(at + pick(2));
}

/** Changes one value somewhere inside; `root` is its own. */
function damage(pick: Pick, root: Json, other: Json): Json {
  if (typeof root !== 'object' || root === null || pick(12) === 0)
    return pick(4) === 0 ? structuredClone(other) : edge(pick);
  const keys = Object.keys(root);
  const inside = root as { [name: string]: Json };
  const key = keys[pick(keys.length)];
  const kind = pick(8);
  if (key === undefined || kind === 0) {
    const name = Array.isArray(root) ? String(root.length) : NAMES[pick(NAMES.length)]!;
    Object.defineProperty(inside, name, { value: edge(pick), enumerable: true, configurable: true, writable: true });
  } else if (kind === 1) delete inside[key];
  else if (kind === 2) {
    const copies = Array.from({ length: pick(pick(10) === 0 ? 70 : 4) }, () => inside[key]!);
    inside[key] = Array.isArray(inside[key]) ? [...inside[key], ...copies] : copies;
  } else if (kind < 6 && typeof inside[key] === 'number') inside[key] = nudged(pick, inside[key]);
  else if (kind < 6 && typeof inside[key] === 'string') inside[key] = edited(pick, inside[key]);
  else inside[key] = damage(pick, inside[key]!, other);
  return root;
}

function parsed(bytes: Uint8Array): Json | undefined {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()) as Json;
  } catch {
    return undefined;
  }
}

/** Damage to the value, or now and then to the text. @param write how the value is written */
export function jsonMutator(write: (value: unknown) => string | undefined = JSON.stringify): Mutator {
  return (pick, parent, other, maxBytes) => {
    const value = parsed(parent);
    if (value === undefined || pick(8) === 0) return mutateBytes(pick, parent, other, maxBytes);
    let child = value;
    for (let left = 1 + pick(3); left > 0; left--) child = damage(pick, child, parsed(other) ?? null);
    try {
      return utf8(write(child) ?? '');
    } catch {
      // Too deep for the writer, or no JSON for it: the plain text of what it began as.
      return mutateBytes(pick, parent, other, maxBytes);
    }
  };
}

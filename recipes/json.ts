// Plain JSON values of bounded depth: what a recipe is before it is checked against the schema.
// Source: RFC 8785 (I-JSON: finite numbers, well-formed strings, no duplicate names). Invariant: whatever passes
// `checkPlainJson` can be walked by recursive code without exhausting the stack.

import { RecipeError } from './error.ts';

/** Deeper than any recipe needs to be: settings lie five levels down. */
const MAX_DEPTH = 16;

/** JSON as data. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

/** A JSON object. */
export interface JsonObject {
  readonly [name: string]: Json;
}

/** Whether a value is an object with fields, such as `{}`, and nothing with a class. */
export function isJsonObject(value: unknown): value is JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function fail(path: string, problem: string): RecipeError {
  return new RecipeError('RECIPE_INVALID', `${path}: ${problem}`, { path });
}

function checkScalar(value: unknown, path: string): void {
  if (value === null || typeof value === 'boolean') return;
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw fail(path, 'text has half of a surrogate pair; write well-formed Unicode');
  } else if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw fail(path, `numbers must be finite, got ${value}`);
  } else {
    throw fail(path, `expected JSON, got ${typeof value}; write text, a number, a list or fields`);
  }
}

/**
 * Refuses what is no plain JSON: too deep, not finite, not well-formed, odd names.
 * @throws {RecipeError} RECIPE_INVALID with the path
 */
export function checkPlainJson(root: unknown): asserts root is Json {
  const pending: { readonly value: unknown; readonly path: string; readonly depth: number }[] = [
    { value: root, path: 'recipe', depth: 0 },
  ];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { value, path, depth } = next;
    if (typeof value !== 'object' || value === null) {
      checkScalar(value, path);
      continue;
    }
    if (depth >= MAX_DEPTH) throw fail(path.slice(0, 200), `nested deeper than ${MAX_DEPTH} levels; flatten it`);
    if (Array.isArray(value)) {
      for (const [i, item] of value.entries()) pending.push({ value: item, path: `${path}[${i}]`, depth: depth + 1 });
    } else if (isJsonObject(value)) {
      for (const [name, item] of Object.entries(value)) {
        if (name === '__proto__' || !name.isWellFormed()) throw fail(path, 'has a field with a forbidden name');
        pending.push({ value: item, path: `${path}.${name.slice(0, 64)}`, depth: depth + 1 });
      }
    } else {
      throw fail(path, 'expected plain fields or a list');
    }
  }
}

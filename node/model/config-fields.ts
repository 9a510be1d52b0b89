// Reading single fields of a config.json: each in its range, each refused by its name.

import { SwarmError } from '../protocol/errors.ts';

/** A JSON object as parsed. */
export type Fields = Readonly<Record<string, unknown>>;

/** Largest value taken for any size: a config comes from strangers, and sizes multiply. */
const MAX_SIZE = 1 << 24;

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a field that no graph of ours computes is answered with. */
export function unsupported(field: string, got: unknown, supported: string): SwarmError {
  const shown = JSON.stringify(got) ?? 'nothing';
  return new SwarmError(
    'UNSUPPORTED_MODEL',
    `config.json: ${field} is ${shown.slice(0, 80)}; supported: ${supported}. Choose another model.`,
    { field },
  );
}

/** A count. @param fallback for an absent or null field; without one it is required */
export function size(fields: Fields, field: string, fallback?: number, max: number = MAX_SIZE): number {
  const value = fields[field] ?? fallback;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > max) {
    throw unsupported(field, fields[field], `an integer from 1 to ${max}`);
  }
  return value;
}

/** @param name what an error calls the field, where it lies inside another */
export function positive(fields: Fields, field: string, fallback?: number, name: string = field): number {
  const value = fields[field] ?? fallback;
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) {
    throw unsupported(name, fields[field], 'a positive number');
  }
  return value;
}

export function flag(fields: Fields, field: string, fallback: boolean, name: string = field): boolean {
  const value = fields[field] ?? fallback;
  if (typeof value !== 'boolean') throw unsupported(name, value, 'true or false');
  return value;
}

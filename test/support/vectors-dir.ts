// Where the reference vectors lie: an argument of the suite, so that another set of the same layout can be run.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The repository's own copy, for tests that need one certain file whichever set is run. */
export const OWN_VECTORS: string = join(import.meta.dirname, '..', 'vectors');

/** Folder of the vectors: MURMUR_VECTORS, or test/vectors. */
export function vectorsDir(): string {
  return process.env.MURMUR_VECTORS ?? OWN_VECTORS;
}

/** A parsed vector file, by its path inside the folder. The caller states its type. */
export function readVector<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(vectorsDir(), ...path), 'utf8')) as T;
}

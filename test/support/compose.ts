// docker/compose.yaml as data: what each service runs.

import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** One service, its `<<: *murmur` merged in. */
export interface ComposeService {
  readonly image: string;
  readonly command: readonly string[];
  readonly volumes: readonly string[];
  readonly depends_on?: readonly string[];
  readonly build: { readonly context: string; readonly dockerfile: string };
  readonly [other: string]: unknown;
}

export interface Compose {
  readonly name: string;
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, null>>;
  readonly [other: string]: unknown;
}

/** The compose file of this checkout. */
export function readCompose(): Compose {
  const file = new URL('../../docker/compose.yaml', import.meta.url);
  return parse(readFileSync(file, 'utf8'), { merge: true, strict: true }) as Compose;
}

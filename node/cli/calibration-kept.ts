// What a calibration has counted so far, in one file beside its report: a run that was stopped, or killed, goes on from it.
// Invariant: only counts of the very same subject are ever read; the file is whole at any time and goes when the report is written.

import { readFile, rm } from 'node:fs/promises';
import type { PartKeeper, PartState } from '../../verifier/calibration/part.ts';
import { writeFileWhole } from '../model/folder.ts';

/** Raised when counts change their meaning. */
const FORMAT = 1;
const WRITE_EVERY_MS = 10_000;

interface Kept {
  readonly format: number;
  readonly subject: string;
  readonly parts: Readonly<Record<string, PartState>>;
}

export interface KeptParts {
  /** Writes the first counts at once, later ones now and then; throws what an earlier write failed with. */
  readonly keeper: PartKeeper;
  /** whether there was something to go on from */
  readonly isResumed: boolean;
  /** Writes what is not yet on disk, or throws. */
  flush(): Promise<void>;
  /** Removes the file, if there is one: all is done. */
  forget(): Promise<void>;
}

/** Null for none, and for those of another subject: a calibration begins anew then. */
async function readKept(path: string, subject: string): Promise<Kept | null> {
  try {
    const kept = JSON.parse(await readFile(path, 'utf8')) as Kept;
    return kept.format === FORMAT && kept.subject === subject ? kept : null;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** @param subject all that the counts depend on */
export async function openKeptParts(path: string, subject: string, nowMs: () => number = Date.now): Promise<KeptParts> {
  const before = await readKept(path, subject);
  const parts: Record<string, PartState> = { ...before?.parts };
  let isDirty = false;
  /** fails never: what the last write failed with is `failure` */
  let writing: Promise<void> = Promise.resolve();
  let failure: { readonly cause: unknown } | null = null;
  let dueMs = Number.NEGATIVE_INFINITY;
  const write = (): void => {
    isDirty = false;
    dueMs = nowMs() + WRITE_EVERY_MS;
    const text = JSON.stringify({ format: FORMAT, subject, parts } satisfies Kept);
    writing = writing
      .then(() => writeFileWhole(path, text))
      .then(
        () => {
          failure = null;
        },
        (cause: unknown) => {
          failure = { cause };
          isDirty = true;
        },
      );
  };
  const tellFailure = (): void => {
    const told = failure;
    failure = null;
    if (told !== null) throw told.cause;
  };
  return {
    isResumed: before !== null,
    keeper: {
      read: (part) => parts[part],
      keep(part, state) {
        parts[part] = state;
        isDirty = true;
        tellFailure();
        if (nowMs() >= dueMs) write();
      },
    },
    async flush() {
      if (isDirty) write();
      await writing;
      tellFailure();
    },
    async forget() {
      await writing;
      isDirty = false; // nobody needs any more what could not be written
      failure = null;
      await rm(path, { force: true });
    },
  };
}

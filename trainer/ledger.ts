// The ledger of groups: each ends in exactly one of trained, rejected, stale, dropped, and the counts always add up.
// Source: spec/grpo.md "Exactly once"; spec/wire.md "Counting" (the first final state wins).
// Records on disk are a cache: `open` brings them up to the newest whole checkpoint, which alone says what was trained.
// Invariants: announced = trained + rejected + stale + dropped + pending, at every moment and after a crash;
// old rows are folded into sums, so memory does not grow with the run.

import { fromUtf8, utf8 } from '../node/protocol/bytes.ts';
import { SwarmError } from '../node/protocol/errors.ts';
import type { Records } from '../node/protocol/ports.ts';

export type FinalState = 'trained' | 'rejected' | 'stale' | 'dropped';
const FINAL_STATES: readonly FinalState[] = ['trained', 'rejected', 'stale', 'dropped'];

/** Steps after which rows leave the disk (spec/wire.md). */
export const KEEP_RECORD_STEPS = 1_000;

/** Policy steps beyond maxLag for which rows stay in memory. */
export const KEEP_ROW_STEPS = 16;

/** What is known of a group when it is announced. */
export interface AnnouncedRow {
  /** hex */
  readonly groupId: string;
  readonly peer: string;
  readonly policyStep: number;
  readonly slot: number;
  /** hex */
  readonly bodyHash: string;
}

export interface LedgerRow extends AnnouncedRow {
  readonly state: 'pending' | FinalState;
  /** why, for rejected and dropped */
  readonly reason: string | null;
  /** the trainer's step that consumed it */
  readonly trainStep: number | null;
}

export interface LedgerCounts {
  readonly announced: number;
  readonly trained: number;
  readonly rejected: number;
  readonly stale: number;
  readonly dropped: number;
  readonly pending: number;
  /** `dropped.zeroAdvantage`, `rejected.REPLAY_MISMATCH`, … to counts */
  readonly reasons: Readonly<Record<string, number>>;
}

/** What the newest whole checkpoint says was trained. */
export interface ConsumedRecord {
  /** the trainer's step */
  readonly step: number;
  /** hex group id to the step that consumed it, for as far back as a group could come again */
  readonly consumed: ReadonlyMap<string, number>;
}

export interface Ledger {
  /** @throws {SwarmError} RECORD_CORRUPT */
  open(checkpoint: ConsumedRecord): Promise<void>;
  /** @returns false when it is known already, or older than what is still kept */
  announce(row: AnnouncedRow): boolean;
  /** @returns false when the group is unknown or had ended before: nothing changes then */
  finish(groupId: string, state: FinalState, reason?: string | null, trainStep?: number | null): boolean;
  get(groupId: string): LedgerRow | undefined;
  /** rows in memory */
  rows(): Iterable<LedgerRow>;
  counts(): LedgerCounts;
  /** writes what changed */
  flush(): Promise<void>;
  /** Sums up rows of steps below this (those still pending become stale) and lets go of them. */
  fold(belowStep: number): Promise<void>;
}

/** Sums of folded rows, as kept on disk. */
interface Base {
  belowStep: number;
  announced: number;
  readonly states: Record<FinalState, number>;
  readonly reasons: Record<string, number>;
}

const newBase = (): Base => ({
  belowStep: 0,
  announced: 0,
  states: { trained: 0, rejected: 0, stale: 0, dropped: 0 },
  reasons: {},
});

function parse<T>(key: string, bytes: Uint8Array): T {
  try {
    return JSON.parse(fromUtf8(bytes)) as T;
  } catch (cause) {
    throw new SwarmError('RECORD_CORRUPT', `the ledger's record ${key} cannot be read; delete it`, { key }, { cause });
  }
}

const padded = (value: number): string => Math.max(0, value).toString().padStart(10, '0');
const reasonKey = (state: string, reason: string | null): string | null =>
  reason === null ? null : `${state}.${reason}`;

/** @param records of the trainer; keys begin with `ledger` */
export function createLedger(records: Records, recipeIdHex: string): Ledger {
  const prefix = `ledger/${recipeIdHex}/`;
  const baseKey = `ledger-base/${recipeIdHex}`;
  const rows = new Map<string, LedgerRow>();
  const dirty = new Set<string>();
  let base = newBase();
  let consumed: ReadonlyMap<string, number> = new Map();

  const keyOf = (row: LedgerRow): string => `${prefix}${padded(row.policyStep)}/${row.groupId}`;

  function set(row: LedgerRow): void {
    rows.set(row.groupId, row);
    dirty.add(row.groupId);
  }

  /** The checkpoint decides what was trained, whatever the cache says. */
  function settled(row: LedgerRow, checkpointStep: number): LedgerRow {
    const trainStep = consumed.get(row.groupId);
    if (trainStep !== undefined) return { ...row, state: 'trained', reason: null, trainStep };
    const isUndone = row.state === 'trained' && (row.trainStep ?? 0) > checkpointStep;
    return isUndone ? { ...row, state: 'pending', reason: null, trainStep: null } : row;
  }

  function addTo(sums: Base, row: LedgerRow): void {
    sums.announced += 1;
    if (row.state === 'pending') return;
    sums.states[row.state] += 1;
    const key = reasonKey(row.state, row.reason);
    if (key !== null) sums.reasons[key] = (sums.reasons[key] ?? 0) + 1;
  }

  /** One batch after the other, so that what is written last is what is newest. */
  let writing: Promise<void> = Promise.resolve();
  function flush(more: readonly (readonly [string, Uint8Array | null])[] = []): Promise<void> {
    const written = writing.then(async () => {
      const changed = [...dirty].map((id) => rows.get(id)!);
      dirty.clear();
      const entries = changed.map((row) => [keyOf(row), utf8(JSON.stringify(row))] as const);
      if (entries.length + more.length > 0) await records.batch([...entries, ...more]);
    });
    writing = written.catch(() => undefined);
    return written;
  }

  return {
    async open(checkpoint) {
      consumed = checkpoint.consumed;
      const found = await records.get(baseKey);
      base = found === undefined ? newBase() : parse<Base>(baseKey, found);
      for await (const [key, value] of records.entries({ gte: prefix + padded(base.belowStep), lt: `${prefix}:` })) {
        const row = parse<LedgerRow>(key, value);
        const now = settled(row, checkpoint.step);
        rows.set(row.groupId, now);
        if (now !== row) dirty.add(row.groupId);
      }
    },
    announce(row) {
      if (rows.has(row.groupId) || row.policyStep < base.belowStep) return false;
      const trainStep = consumed.get(row.groupId) ?? null;
      set({ ...row, state: trainStep === null ? 'pending' : 'trained', reason: null, trainStep });
      return true;
    },
    finish(groupId, state, reason = null, trainStep = null) {
      const row = rows.get(groupId);
      if (row?.state !== 'pending') return false;
      set({ ...row, state, reason, trainStep });
      return true;
    },
    get: (groupId) => rows.get(groupId),
    rows: () => rows.values(),
    counts() {
      const sums: Base = { ...base, states: { ...base.states }, reasons: { ...base.reasons } };
      for (const row of rows.values()) addTo(sums, row);
      const ended = FINAL_STATES.reduce((sum, state) => sum + sums.states[state], 0);
      return { announced: sums.announced, ...sums.states, pending: sums.announced - ended, reasons: sums.reasons };
    },
    flush: () => flush(),
    async fold(belowStep) {
      if (belowStep <= base.belowStep) return;
      const old = [...rows.values()].filter((row) => row.policyStep < belowStep);
      for (const row of old) if (row.state === 'pending') set({ ...row, state: 'stale' });
      const next: Base = { ...base, belowStep, states: { ...base.states }, reasons: { ...base.reasons } };
      for (const { groupId } of old) addTo(next, rows.get(groupId)!);
      const entries: [string, Uint8Array | null][] = [[baseKey, utf8(JSON.stringify(next))]];
      for await (const [key] of records.entries({ gte: prefix, lt: prefix + padded(belowStep - KEEP_RECORD_STEPS) })) {
        entries.push([key, null]);
      }
      await flush(entries);
      base = next;
      for (const { groupId } of old) rows.delete(groupId);
    },
  };
}

/** Whether a group that ended had been found good: trained on, or accepted and with nothing to learn from. */
export function wasGood({ state, reason }: LedgerRow): boolean {
  return state === 'trained' || (state === 'dropped' && reason === 'zeroAdvantage');
}

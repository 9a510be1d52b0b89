// The ledger's invariant, as tests ask for it.

import assert from 'node:assert/strict';
import type { LedgerCounts } from '../../trainer/ledger.ts';

/** Every announced group is counted in exactly one place. */
export function assertAddsUp(counts: Omit<LedgerCounts, 'reasons'>, where?: string): void {
  const { announced, trained, rejected, stale, dropped, pending } = counts;
  const sum = trained + rejected + stale + dropped + pending;
  assert.equal(announced, sum, `${where ?? 'groups'}: ${JSON.stringify(counts)}`);
}

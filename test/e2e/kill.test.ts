// kill -9 of every role in turn, each started again on its data: training goes on, nothing is trained twice, no slot is
// lost or used twice, and nobody honest is blamed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GroupCounts } from '../../node/cli/events.ts';
import { fromUtf8 } from '../../node/protocol/bytes.ts';
import { createStore } from '../../node/store/store.ts';
import { murmurLab } from '../support/murmur-process.ts';
import {
  assertAddsUp,
  assertSlotsWithoutGap,
  type RolloutRow,
  startRing,
  TINY_GROUPS_PER_STEP,
} from '../support/ring.ts';
import { silentLogger } from '../support/silent-logger.ts';

interface LedgerRow {
  readonly groupId: string;
  readonly state: string;
  readonly trainStep: number | null;
}

/** The rows of a stopped trainer's ledger. */
async function ledgerRows(dir: string): Promise<LedgerRow[]> {
  const store = await createStore({ dir, maxDiskBytes: 1e9, logger: silentLogger });
  try {
    const rows: LedgerRow[] = [];
    for await (const [, value] of store.records('trainer').entries({ gte: 'ledger/', lt: 'ledger0' })) {
      rows.push(JSON.parse(fromUtf8(value)) as LedgerRow);
    }
    return rows;
  } finally {
    await store.close();
  }
}

test('trainer, node and verifier are killed in turn and go on where they were', async (t) => {
  const lab = await murmurLab(t);
  const ring = await startRing(lab);
  const { joined, trainerPeer } = ring;
  const startNode = (name: string) => lab.start(name, ['node', ...joined]);
  const startVerifier = () => lab.start('verifier', ['verify', ...joined]);
  const nodes = [startNode('node-1'), startNode('node-2')];
  let verifier = startVerifier();
  let { trainer } = ring;
  let { policyStep } = await trainer.event('step', (step) => step.policyStep >= 2);

  await t.test('the trainer, twice', async () => {
    for (const afterMs of [0, 120]) {
      await sleep(afterMs);
      await trainer.kill();
      trainer = await ring.restartTrainer();
      const again = await trainer.event('step');
      // At most the step that was not whole on disk is done once more.
      assert.ok(again.policyStep >= policyStep, `${again.policyStep} after ${policyStep}`);
      assert.equal((await trainer.event('listening')).peerId, trainerPeer);
      ({ policyStep } = await trainer.event('step', (step) => step.policyStep > policyStep + 1));
    }
  });

  await t.test('a node', async () => {
    const { peerId } = await nodes[0]!.event('listening');
    await nodes[0]!.event('rollouts');
    await nodes[0]!.kill();
    nodes[0] = startNode('node-1');
    assert.equal((await nodes[0].event('listening')).peerId, peerId);
    await nodes[0].event('rollouts');
  });

  await t.test('the verifier', async () => {
    await verifier.event('verdicts', (event) => event.accepted > 0);
    await verifier.kill();
    verifier = startVerifier();
    await verifier.event('verdicts', (event) => event.accepted > 0);
  });

  await t.test('training goes on, exactly once', async () => {
    const { policyStep: reached } = trainer.events.filter((event) => event.event === 'step').at(-1)!;
    await trainer.event('step', (step) => step.policyStep > reached);
    for (const process of [trainer, ...nodes, verifier]) await process.interrupt();
    const look = (command: string): Promise<unknown> =>
      lab.ask([command, '--limit', '100000', '--data-dir', lab.dataDir('trainer')]);
    const { training } = (await look('status')) as {
      training: { trainStep: number; policyStep: number; groups: GroupCounts };
    };
    assertAddsUp(training.groups);
    assert.equal(training.groups.rejected, 0);
    const rows = await ledgerRows(lab.dataDir('trainer'));
    assert.equal(new Set(rows.map((row) => row.groupId)).size, rows.length);
    const trained = new Map<number, number>();
    for (const { state, trainStep } of rows) {
      if (state === 'trained') trained.set(trainStep!, (trained.get(trainStep!) ?? 0) + 1);
    }
    // Were a group trained on twice, one of its two steps would have one group less.
    const steps = Array.from({ length: training.trainStep }, (_, i) => i + 1);
    assert.deepEqual(
      [...trained.keys()].sort((a, b) => a - b),
      steps,
    );
    assert.deepEqual([...new Set(trained.values())], [TINY_GROUPS_PER_STEP]);
    assert.equal(training.groups.trained, TINY_GROUPS_PER_STEP * training.trainStep);

    const weights = (await look('weights')) as { policyStep: number }[];
    const published = weights.map((row) => row.policyStep);
    assert.deepEqual(
      published,
      published.map((_, i) => published[0]! + i),
    );
    assert.equal(published.at(-1), training.policyStep);
    assertSlotsWithoutGap((await look('rollouts')) as RolloutRow[]);
    // A body that a killed peer took with it is ignored, not held against anybody.
    const verdicts = (await look('verdicts')) as { answer: string; code: string | null }[];
    assert.deepEqual(
      verdicts.filter((row) => row.answer === 'reject'),
      [],
    );
  });
});

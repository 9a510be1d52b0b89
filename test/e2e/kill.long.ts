// kill -9 of every role in turn, each started again on its data: training goes on, nothing is trained twice, no slot is
// lost or used twice, and nobody honest is blamed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GroupCounts } from '../../node/cli/events.ts';
import { fromUtf8 } from '../../node/protocol/bytes.ts';
import { createStore } from '../../node/store/store.ts';
import { assertAddsUp } from '../support/adds-up.ts';
import { murmurLab } from '../support/murmur-process.ts';
import { assertSlotsWithoutGap, type RolloutRow, startRing } from '../support/ring.ts';
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

test('trainer, node and verifier are killed in turn and go on where they were', { timeout: 300_000 }, async (t) => {
  const lab = await murmurLab(t);
  const ring = await startRing(lab);
  const { joined, trainerPeer } = ring;
  const startNode = () => lab.start('node', ['node', ...joined]);
  const startVerifier = () => lab.start('verifier', ['verify', ...joined]);
  let node = startNode();
  let verifier = startVerifier();
  let { trainer } = ring;
  const lives = [trainer];
  const { policyStep } = await trainer.event('step', (step) => step.policyStep >= 2);

  await t.test('the trainer', async () => {
    await sleep(Math.random() * 500);
    await trainer.kill();
    trainer = await ring.restartTrainer();
    lives.push(trainer);
    const again = await trainer.event('step');
    assert.ok(again.policyStep > policyStep, `${again.policyStep} after ${policyStep}`);
    assert.equal((await trainer.event('listening')).peerId, trainerPeer);
  });

  await t.test('a node and the verifier', async () => {
    const { peerId } = await node.event('listening');
    await Promise.all([node.kill(), verifier.kill()]);
    node = startNode();
    verifier = startVerifier();
    assert.equal((await node.event('listening')).peerId, peerId);
    await node.event('rollouts');
    await verifier.event('verdicts', (event) => event.accepted > 0);
  });

  await t.test('training goes on, exactly once', async () => {
    const { policyStep: reached } = trainer.events.filter((event) => event.event === 'step').at(-1)!;
    await trainer.event('step', (step) => step.policyStep > reached);
    await Promise.all([trainer, node, verifier].map((process) => process.interrupt(20_000)));
    const look = (command: string): Promise<unknown> =>
      lab.ask([command, '--limit', '100000', '--data-dir', lab.dataDir('trainer')]);
    const { training } = (await look('status')) as {
      training: { trainStep: number; policyStep: number; groups: GroupCounts };
    };
    assertAddsUp(training.groups);
    assert.equal(training.groups.rejected, 0);
    const rows = await ledgerRows(lab.dataDir('trainer'));
    assert.equal(new Set(rows.map((row) => row.groupId)).size, rows.length);
    const trainedAt = rows.filter((row) => row.state === 'trained').map((row) => row.trainStep ?? 0);
    assert.equal(training.groups.trained, trainedAt.length);
    const told = lives.flatMap((life) => life.events.filter((event) => event.event === 'step'));
    told.reduce((before, { policyStep: step, counts }) => {
      assert.ok(step > before, `step ${step} came after step ${before}`);
      // A group that was trained on once more later would be counted there, and be missing here.
      assert.equal(counts.trained, trainedAt.filter((at) => at <= step).length, `trained by step ${step}`);
      return step;
    }, 0);

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

// A liar judges: accepts everything, rejects honest groups, says another's verdict again, or takes one back. The trainer's pool
// is real; what counts is who signed.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { toHex } from '../../node/protocol/bytes.ts';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import { createLedger } from '../../trainer/ledger.ts';
import { createPool, type Pool } from '../../trainer/pool.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { memoryFetcher } from '../support/memory-fetcher.ts';
import { signAs } from '../support/memory-inbox.ts';
import { memoryRecords } from '../support/memory-store.ts';
import { silentLogger as logger } from '../support/silent-logger.ts';
import { type TrainerBench, trainerBench, VERIFIER } from '../support/trainer-bench.ts';

const SECOND = createKeyPair();
const LIAR = createKeyPair();
const CODE = 'REPLAY_MISMATCH';

interface Scene extends TrainerBench {
  readonly pool: Pool;
  /** ids of groups that may be trained on */
  ready(): Promise<readonly string[]>;
}

async function scene(t: TestContext, verifiers: readonly KeyPair[] = [VERIFIER]): Promise<Scene> {
  const made = trainerBench();
  made.disk.chain.set(0);
  const { blobs } = made.disk;
  const pool = createPool(
    {
      inbox: made.inbox,
      blobs,
      fetcher: memoryFetcher(blobs),
      ledger: createLedger(memoryRecords(), made.recipe.recipeIdHex),
      clock: fakeClock(),
      logger,
      checkBody: () => ({ answer: 'accept' }),
    },
    { recipe: made.recipe, verifiers: verifiers.map(({ publicKey }) => toHex(publicKey)) },
    { step: 0, consumed: new Map() },
  );
  await pool.start();
  t.after(() => pool.stop());
  return {
    ...made,
    pool,
    async ready() {
      await new Promise((resolve) => setTimeout(resolve, 5));
      await pool.expire(0);
      return pool.ready().map(({ groupId }) => groupId);
    },
  };
}

test('a stranger accepts everything: nothing is trained on for it', async (t) => {
  const s = await scene(t);
  const group = await s.announce({ peer: LIAR, policyStep: 0, slot: 0 });
  await s.judge(group, 'accept', CODE, LIAR);
  assert.deepEqual(await s.ready(), []);
  await s.judge(group, 'accept', CODE, VERIFIER);
  assert.deepEqual(await s.ready(), [group.idHex]);
});

test('a stranger rejects honest groups: they are trained on, and their peer is not left out', async (t) => {
  const s = await scene(t);
  const peer = createKeyPair();
  for (const slot of [0, 1, 2]) {
    const group = await s.announce({ peer, policyStep: 0, slot });
    await s.judge(group, 'reject', 'REWARD_MISMATCH', LIAR);
    await s.judge(group, 'accept', CODE, VERIFIER);
    await s.judge(group, 'reject', 'REWARD_MISMATCH', LIAR);
  }
  assert.equal((await s.ready()).length, 3);
});

test('a stranger judges before the group is known', async (t) => {
  const s = await scene(t);
  const peer = createKeyPair();
  const elsewhere = await scene(t);
  const group = await elsewhere.announce({ peer, policyStep: 0, slot: 0 });
  await s.judge(group, 'accept', CODE, LIAR);
  await s.judge(group, 'reject', 'REWARD_MISMATCH', LIAR);
  await s.inbox.deliver(group, s.recipe.recipeIdHex);
  assert.deepEqual(await s.ready(), []);
  assert.equal(s.pool.waiting(), 1);
});

test("a verifier's verdict under a stranger's signature, and the same verdict again", async (t) => {
  const s = await scene(t);
  const [good, bad] = await Promise.all([0, 1].map((slot) => s.announce({ peer: LIAR, policyStep: 0, slot })));
  await s.judge(good!, 'accept');
  await s.judge(bad!, 'reject', CODE);
  const verdict = s.disk.stored.find(({ message }) => message.kind === 'verdict')!.message;
  await s.inbox.deliver(signAs(LIAR, 'verdict', verdict.payload), s.recipe.recipeIdHex);
  for (let i = 0; i < 5; i++) await s.inbox.deliver(verdict, s.recipe.recipeIdHex);
  assert.deepEqual(await s.ready(), [good!.idHex]);
  assert.deepEqual(s.pool.takeArrivals().groups, 1, 'it arrived once');
});

test('two verifiers disagree: what one of them rejects is not trained on, whoever spoke first', async (t) => {
  const s = await scene(t, [VERIFIER, SECOND]);
  const orders = [
    ['accept', 'reject'],
    ['reject', 'accept'],
  ] as const;
  for (const [slot, [first, second]] of orders.entries()) {
    const group = await s.announce({ peer: createKeyPair(), policyStep: 0, slot });
    await s.judge(group, first, CODE, VERIFIER);
    await s.judge(group, second, CODE, SECOND);
  }
  assert.deepEqual(await s.ready(), []);
});

test('one of two verifiers ignores everything: the other is enough', async (t) => {
  const s = await scene(t, [VERIFIER, SECOND]);
  const group = await s.announce({ peer: createKeyPair(), policyStep: 0, slot: 0 });
  await s.judge(group, 'ignore', 'NOT_CHECKED', SECOND);
  await s.judge(group, 'accept', CODE, VERIFIER);
  assert.deepEqual(await s.ready(), [group.idHex]);
});

// A liar judges: accepts everything, rejects honest groups, says another's verdict again, or takes one back. The trainer's pool
// is real; what counts is who signed. In the second half so is the verifier beside it, and what counts is who was right.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { toHex } from '../../node/protocol/bytes.ts';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import type { RecipeSource } from '../../recipes/schema.ts';
import { carriesNothing } from '../../trainer/grpo/advantages.ts';
import { createLedger } from '../../trainer/ledger.ts';
import { createPool, type Pool } from '../../trainer/pool.ts';
import { checkBody } from '../../verifier/checks/stage-one.ts';
import { CONFIRMED_TO_HALF } from '../../verifier/verifier-standing.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { memoryFetcher } from '../support/memory-fetcher.ts';
import { signAs } from '../support/memory-inbox.ts';
import { memoryRecords } from '../support/memory-store.ts';
import { silentLogger as logger } from '../support/silent-logger.ts';
import { type TrainerBench, trainerBench, VERIFIER } from '../support/trainer-bench.ts';
import { type OtherVerifier, otherVerifier } from '../verifier/support/other-verifier.ts';
import { type Running, startVerifier } from '../verifier/support/running.ts';
import { scriptedPolicy } from '../verifier/support/scripted-policy.ts';
import {
  type Alteration,
  type MadeGroup,
  makeGroup,
  newPeer,
  testContext,
  testRecipe,
  withSequence,
} from '../verifier/support/swarm.ts';

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

interface Court extends Running {
  readonly pool: Pool;
  /** another verifier that has committed to its secret of step 0 */
  other(): Promise<OtherVerifier>;
  /** a group that teaches something, by a new peer; honest unless altered */
  group(alteration?: Alteration): MadeGroup;
  /** announces, and lets our own verifier judge */
  judged(group: MadeGroup): Promise<void>;
  isReady(group: MadeGroup): Promise<boolean>;
  /** from now on our own verifier's replays do not end */
  stall(): void;
}

/** A trainer's pool and the verifier inside it, on one inbox; the recipe names nobody. */
async function court(t: TestContext, verification: RecipeSource = {}): Promise<Court> {
  // A reward that differs from one made-up completion to the next: groups have to teach something.
  const byLength = { reward: 'length-penalty@1', settings: { perCharacter: 0.01 } };
  const context = testContext(
    testRecipe({ verifiers: [], ...verification }, { rewards: [{ reward: 'exact@1' }, byLength] }),
  );
  const running = await startVerifier({ context });
  const ended = Promise.withResolvers<void>();
  t.after(() => {
    ended.resolve();
    return running.stop();
  });
  const { verifier, inbox, fetcher, store, clock, disk } = running;
  const pool = createPool(
    {
      ...{ inbox, fetcher, clock, logger },
      blobs: store,
      ledger: createLedger(memoryRecords(), context.recipe.recipeIdHex),
      checkBody: (announcement, body) => checkBody(context, announcement, body),
      isQuarantined: verifier.standing.isQuarantined,
      worthOfVerifier: verifier.worthOf,
    },
    { recipe: context.recipe, verifiers: [toHex(disk.keyPair.publicKey)] },
    { step: 0, consumed: new Map() },
  );
  await pool.start();
  t.after(() => pool.stop());
  const scene: Court = {
    ...running,
    pool,
    async other() {
      const made = otherVerifier(running);
      await made.commit(0);
      return made;
    },
    group(alteration = {}) {
      for (;;) {
        const made = makeGroup(context, newPeer(), 0, 0, alteration);
        if (!carriesNothing(made.announcement.rewards)) return made;
      }
    },
    async judged(group) {
      await running.announce(group);
      await running.settle();
    },
    async isReady(group) {
      await running.settle();
      await pool.expire(0);
      await running.settle();
      return pool.ready().some(({ groupId }) => groupId === group.message.idHex);
    },
    stall() {
      running.engine.beforeReplay = () => ended.promise;
    },
  };
  return scene;
}

const OTHER_WEIGHTS: Alteration = { policy: scriptedPolicy('other weights') };
/** Wrong log-probs in one sequence. */
const DRIFTED: Alteration = {
  body: withSequence(2, (each) => ({ ...each, logprobs: each.logprobs.map((value) => value - 0.01) })),
};
const STANDING = { acceptance: { rule: 'standing', minStanding: 0.5 } };

/** Honest groups that a verifier accepts and we too, until it has a standing of one half. */
async function earn(s: Court, verifier: OtherVerifier): Promise<void> {
  for (let i = 0; i < CONFIRMED_TO_HALF; i++) {
    const group = s.group();
    await verifier.accept(group);
    await s.judged(group);
  }
  assert.equal(verifier.standing().standing, 0.5);
}

test('a verifier rejects honest groups: they stay accepted, their peers unharmed, and it is silenced at once', async (t) => {
  const s = await court(t, STANDING);
  const liar = await s.other();
  await earn(s, liar);
  const groups = [s.group(), s.group(), s.group()];
  for (const group of groups) await s.judged(group);
  const before = s.engine.replays.length;
  for (const group of groups)
    await liar.reject(group, 'REPLAY_MISMATCH', { sequence: 0, position: 0, u: 0.5, x: 0.6, y: 0.7 });
  for (const group of groups) assert.equal(await s.isReady(group), true);
  for (const { message } of groups) assert.equal(s.verifier.standing.of(message.peerIdString).rejectedGroups, 0);
  assert.equal(s.engine.replays.length - before, 1, 'the second lie costs nothing');
  assert.deepEqual([liar.isSilenced(), liar.standing().standing], [true, 0]);
  // Silenced, it cannot bring a group in either.
  s.stall();
  const alone = s.group();
  await s.announce(alone);
  await liar.accept(alone);
  assert.equal(await s.isReady(alone), false);
});

test('a verifier accepts everything: what it earned with honest groups is gone with the first false one', async (t) => {
  const s = await court(t, STANDING);
  const [liar, honest] = [await s.other(), await s.other()];
  await earn(s, liar);
  await earn(s, honest);
  const bad = s.group(OTHER_WEIGHTS);
  await liar.accept(bad);
  await s.judged(bad);
  assert.equal(await s.isReady(bad), false);
  assert.deepEqual([liar.standing().standing, honest.standing().standing], [0, 0.5]);
  // Nor does it earn it back as fast: nobody else lies for a while.
  for (let i = 0; i < CONFIRMED_TO_HALF; i++) {
    const group = s.group();
    await liar.accept(group);
    await s.judged(group);
  }
  assert.equal(liar.standing().standing, 0.2);
  // With our own verifier out of breath the honest one's word is enough, the liar's no more.
  s.stall();
  const [byLiar, byHonest] = [s.group(OTHER_WEIGHTS), s.group()];
  for (const group of [byLiar, byHonest]) await s.announce(group);
  await liar.accept(byLiar);
  await honest.accept(byHonest);
  assert.deepEqual([await s.isReady(byLiar), await s.isReady(byHonest)], [false, true]);
});

test('a crowd of new verifiers accepts: no quorum, however many they are', async (t) => {
  const s = await court(t, { acceptance: { rule: 'quorum', quorum: 2, minStanding: 0.5 } });
  const honest = await s.other();
  await earn(s, honest);
  const [bad, good] = [s.group(OTHER_WEIGHTS), s.group()];
  await s.judged(good);
  assert.equal(await s.isReady(good), false, 'our own acceptance alone is no quorum');
  await honest.accept(good);
  assert.equal(await s.isReady(good), true);
  s.stall();
  await s.announce(bad);
  for (let i = 0; i < 5; i++) await (await s.other()).accept(bad);
  assert.equal(await s.isReady(bad), false);
});

test('two verifiers disagree: who is right here stays, whichever spoke first', async (t) => {
  // Our own verifier looks at one sequence of a group.
  const s = await court(t, { probationGroups: 0, pMin: 1e-9 });
  const [lenient, strict] = [await s.other(), await s.other()];
  let [bad, verdict] = [s.group(DRIFTED), ''];
  for (; ; bad = s.group(DRIFTED)) {
    await s.judged(bad);
    verdict = s.verdictOn(bad)!;
    if (verdict === 'accept') break;
  }
  assert.equal(await s.isReady(bad), true, 'missed');
  await lenient.accept(bad);
  await strict.reject(bad, 'LOGPROB_DRIFT', { sequence: 2, measured: 0.01, limit: 1e-4 });
  assert.equal(await s.isReady(bad), false, 'the evidence repeats here');
  assert.equal(s.verdictOn(bad), 'reject LOGPROB_DRIFT');
  assert.deepEqual([lenient.standing().standing, lenient.standing().contradicted], [0, 1]);
  assert.deepEqual([strict.standing().confirmed, strict.isSilenced()], [1, false]);
  // The other way round: the strict one is wrong now.
  const good = s.group();
  await strict.reject(good, 'LOGPROB_DRIFT', { sequence: 2, measured: 0.01, limit: 1e-4 });
  await lenient.accept(good);
  await s.judged(good);
  assert.equal(await s.isReady(good), true);
  assert.deepEqual([strict.isSilenced(), lenient.standing().standing], [true, 1 / (1 + 4 * CONFIRMED_TO_HALF)]);
});

test("replayed verdicts: another verifier's acceptances signed again, and one's own repeated, earn nothing", async (t) => {
  const s = await court(t, STANDING);
  const [honest, copier] = [await s.other(), await s.other()];
  for (let i = 0; i < CONFIRMED_TO_HALF; i++) {
    const group = s.group();
    const verdict = await honest.accept(group);
    const copied = signAs(copier.keyPair, 'verdict', verdict.payload);
    for (const message of [copied, verdict, copied]) await s.inbox.deliver(message, s.context.recipe.recipeIdHex);
    await s.judged(group);
  }
  assert.deepEqual([honest.standing().confirmed, copier.standing().confirmed], [CONFIRMED_TO_HALF, 0]);
  // A rejection repeated after its silence has ended is looked at no second time.
  const group = s.group();
  await s.judged(group);
  const rejection = await copier.reject(group, 'REWARD_MISMATCH');
  await s.settle();
  assert.equal(copier.standing().contradicted, 1);
  s.chain.moveTo(15);
  await s.settle(1000);
  assert.equal(copier.isSilenced(), false);
  const answer = await s.inbox.deliver(rejection, s.context.recipe.recipeIdHex);
  assert.deepEqual(answer.answer === 'ignore' && answer.code, 'TOO_OLD');
  await s.settle();
  assert.equal(copier.standing().contradicted, 1);
});

// More work than can be done: what is given up, that it is never accepted, that nobody chooses it, that nothing grows without end.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { sha256, utf8 } from '../../node/protocol/bytes.ts';
import { SwarmError } from '../../node/protocol/errors.ts';
import type { KeyPair } from '../../node/protocol/keys.ts';
import type { Random } from '../../node/protocol/ports.ts';
import { groupsToGiveUp, groupTokens, type WaitingLimits } from '../../verifier/giving-up.ts';
import { type Job, jobOf } from '../../verifier/job.ts';
import { createReplayQueue } from '../../verifier/queue.ts';
import { accountsFor, newDisk, type Running, startVerifier } from './support/running.ts';
import {
  GROUP_SIZE,
  type MadeGroup,
  makeGroup,
  newPeer,
  rootOf,
  testChain,
  testContext,
  testRecipe,
} from './support/swarm.ts';

const LIMITS: WaitingLimits = { maxGroups: 16, maxTokens: 1e9 };

/** Runs a verifier whose engine stands until `release`. */
async function withHeldEngine(
  options: Parameters<typeof startVerifier>[0],
  run: (running: Running, release: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const running = await startVerifier({ waitingLimits: LIMITS, ...options });
  const gate = Promise.withResolvers<void>();
  running.engine.beforeReplay = () => gate.promise;
  try {
    await run(running, async () => {
      gate.resolve();
      for (let i = 0; i < 3; i++) await running.settle();
    });
    const { announced, sum } = accountsFor(running.verifier);
    assert.equal(announced, sum, 'every announced group is counted once');
  } finally {
    gate.resolve();
    await running.stop();
  }
}

async function announceAll(running: Running, groups: readonly MadeGroup[]): Promise<void> {
  for (const group of groups) {
    await running.announce(group);
    await running.settle();
  }
}

const groupsOf = (running: Running, peer: KeyPair, count: number, step = 0): MadeGroup[] =>
  Array.from({ length: count }, (_, slot) => makeGroup(running.context, peer, slot, step));

test('what is too much is given up at once, never accepted, and said; what waits stays within its limits', async () => {
  const context = testContext(testRecipe({ probationGroups: 0 }));
  await withHeldEngine({ context }, async (running, release) => {
    const groups = [newPeer(), newPeer(), newPeer()].flatMap((peer) => groupsOf(running, peer, 20));
    await announceAll(running, groups);
    const { waiting, notChecked, backlogTokens } = running.verifier.stats();
    // Those in the limits, and the batch that the engine holds.
    assert.ok(waiting <= LIMITS.maxGroups + running.engine.replays.length + 1, `${waiting} wait`);
    assert.equal(notChecked, groups.length - waiting);
    assert.ok(backlogTokens > 0);
    await release();
    const verdicts = groups.map(running.verdictOn);
    assert.deepEqual(new Set(verdicts), new Set(['accept', 'ignore NOT_CHECKED']));
    assert.equal(verdicts.filter((verdict) => verdict === 'accept').length, waiting);
    assert.equal(running.verifier.stats().backlogTokens, 0);
    running.chain.moveTo(1);
    await running.settle(1_000);
    assert.equal(running.lines.filter(({ message }) => message.startsWith('groups were not checked')).length, 1);
  });
});

test('load lowers no probability: what is accepted was replayed whole just when its lot said so', async () => {
  const context = testContext(testRecipe({ probationGroups: 0, pMin: 0.5 }));
  const secret = sha256(utf8('the secret of every step'));
  const random: Random = { bytes: (count) => (count === 32 ? secret : crypto.getRandomValues(new Uint8Array(count))) };
  await withHeldEngine({ context, random }, async (running, release) => {
    const groups = [newPeer(), newPeer(), newPeer(), newPeer()].flatMap((peer) => groupsOf(running, peer, 16));
    await announceAll(running, groups);
    await release();
    const accepted = groups.filter((group) => running.verdictOn(group) === 'accept');
    assert.ok(accepted.length >= LIMITS.maxGroups / 2 && accepted.length < groups.length / 2, `${accepted.length}`);
    for (const group of accepted) {
      const lot = createHmac('sha256', secret).update(group.message.id).digest()[0]! / 256;
      assert.equal(running.verdictsOn(group)[0]!.sequencesReplayed, lot < 0.5 ? GROUP_SIZE : 1);
    }
  });
});

test('the newest policy is replayed first; what is left of an old one leaves with it', async () => {
  await withHeldEngine({ chain: testChain(1) }, async (running, release) => {
    const [first, old, fresh] = [0, 0, 1].map((step) => makeGroup(running.context, newPeer(), 0, step));
    await announceAll(running, [first!, old!, fresh!]);
    await release();
    assert.deepEqual(
      running.engine.replays.map(({ policyRoot }) => policyRoot),
      [rootOf(0), rootOf(1), rootOf(0)],
    );
    assert.deepEqual(
      [first, old, fresh].map((group) => running.verdictOn(group!)),
      ['accept', 'accept', 'accept'],
    );
  });
});

test('announcements whose bodies do not come are bounded too, and a lane ends where one of it was given up', async () => {
  const disk = newDisk();
  const context = testContext();
  const peer = newPeer();
  await withHeldEngine({ context, disk }, async (running, release) => {
    const groups = groupsOf(running, peer, LIMITS.maxGroups + 3);
    // Slot 0 is being asked for, 16 wait behind it, the next is one too many: of 17 the last two go, to 15/16 of the limit.
    for (const group of groups.slice(0, -1)) await running.announce(group, { withBody: false });
    await running.settle();
    const givenUp = groups.slice(LIMITS.maxGroups, -1);
    assert.deepEqual(groups.slice(0, -1).map(running.verdictOn), [
      ...groups.slice(0, LIMITS.maxGroups).map(() => null),
      ...givenUp.map(() => 'ignore NOT_CHECKED'),
    ]);
    // Its body is served after all: too late, or bodies could be shown by their luck whenever there is load.
    await announceAll(running, groups.slice(-1));
    assert.equal(running.verdictOn(groups.at(-1)!), 'ignore NOT_CHECKED');
    for (const group of groups) await running.give(group);
    await release();
    await running.settle(5_000);
    assert.deepEqual(new Set(groups.slice(0, LIMITS.maxGroups).map(running.verdictOn)), new Set(['accept']));
  });
  const running = await startVerifier({ context, disk, waitingLimits: LIMITS });
  try {
    const later = makeGroup(context, peer, LIMITS.maxGroups + 3);
    await announceAll(running, [later]);
    assert.equal(running.verdictOn(later), 'ignore NOT_CHECKED', 'also after a restart');
  } finally {
    await running.stop();
  }
});

test('a policy that the memory budget does not hold: POLICY_UNAVAILABLE, and the others go on', async () => {
  await withHeldEngine({ chain: testChain(1) }, async (running, release) => {
    const load = running.engine.load;
    Object.assign(running.engine, {
      load: async (files: Parameters<typeof load>[0]) => {
        if (files.policyRoot !== rootOf(0)) return await load(files);
        throw new SwarmError(
          'OUT_OF_MEMORY_BUDGET',
          'The weights need 9 bytes, the engine may use 8; raise its memory.',
        );
      },
    });
    const [old, fresh] = [0, 1].map((step) => makeGroup(running.context, newPeer(), 0, step));
    await announceAll(running, [old!, fresh!]);
    await release();
    assert.deepEqual(
      [old, fresh].map((group) => running.verdictOn(group!)),
      ['ignore POLICY_UNAVAILABLE', 'accept'],
    );
    assert.match(running.verdictsOn(old!)[0]!.evidence!.note!, /raise its memory/);
    assert.equal(running.verifier.standing.of(old!.message.peerIdString).rejectedGroups, 0);
  });
});

test('a policy that left the memory, and whose file is gone when it is wanted again: POLICY_UNAVAILABLE', async () => {
  const running = await startVerifier({});
  try {
    const group = makeGroup(running.context, newPeer(), 0);
    running.engine.beforeReplay = () => {
      throw new SwarmError('MODEL_FILE_MISSING', 'Cannot open weights.safetensors. Check the model folder.');
    };
    await announceAll(running, [group]);
    assert.equal(running.verdictOn(group), 'ignore POLICY_UNAVAILABLE');
    assert.ok(running.lines.some(({ level, message }) => level === 'warn' && message.startsWith('a policy cannot')));
  } finally {
    await running.stop();
  }
});

const TEMPLATE = makeGroup(testContext(), newPeer(), 0);

/** Queued jobs by peers, `count` each, of one step: one group under many names. */
function queuedJobs(peers: readonly string[], count: number, step = 0): Job[] {
  const template = jobOf(TEMPLATE.message, 0, 0);
  return peers.flatMap((peer) =>
    Array.from({ length: count }, (_, slot) => ({
      ...template,
      peer,
      policyRoot: rootOf(step),
      groupIdHex: `${peer} ${slot}`,
      announcement: { ...template.announcement, slot, policyStep: step },
      // Neither the order of arrival nor that of slots.
      lot: ((slot * 7) % count) / count,
      state: 'queued' as const,
      body: TEMPLATE.body,
    })),
  );
}

const nobody = (): boolean => false;
const isOfCrowd = (peer: string): boolean => peer.startsWith('crowd');
const crowdOf = (count: number): string[] => Array.from({ length: count }, (_, i) => `crowd ${i}`);
const byLot = (a: Job, b: Job): number => a.lot - b.lot;
const namesOf = (jobs: readonly Job[]): string[] => jobs.map((job) => job.groupIdHex).sort();

test('giving up: the highest lots of whoever holds most; whole or not makes no difference', () => {
  const jobs = [...queuedJobs(['few'], 4), ...queuedJobs(['many'], 20)];
  const limits = { maxGroups: 16, maxTokens: 1e9 };
  const givenUp = groupsToGiveUp(jobs, nobody, limits, byLot);
  assert.equal(givenUp.length, 9, '15/16 of the limit stay');
  const highest = jobs.filter(({ peer, lot }) => peer === 'many' && lot >= 11 / 20);
  assert.deepEqual(namesOf(givenUp), namesOf(highest));
  const tokens = { maxGroups: 1e9, maxTokens: jobs.reduce((sum, job) => sum + groupTokens(job), 0) / 2 };
  const before = namesOf(groupsToGiveUp(jobs, nobody, tokens, byLot));
  for (const job of jobs) job.isWhole = job.lot < 0.5;
  assert.deepEqual(namesOf(groupsToGiveUp(jobs, nobody, tokens, byLot)), before);
  assert.ok(before.length > 9);
});

test('giving up: newcomers keep half, however many keys they have', () => {
  const jobs = [...queuedJobs(crowdOf(40), 1), ...queuedJobs(['established'], 7)];
  const limits = { maxGroups: 16, maxTokens: 1e9 };
  const givenUp = groupsToGiveUp(jobs, isOfCrowd, limits, byLot);
  assert.equal(givenUp.length, jobs.length - 15);
  assert.ok(
    givenUp.every(({ peer }) => isOfCrowd(peer)),
    'nobody else loses anything to them',
  );
  assert.equal(groupsToGiveUp(queuedJobs(crowdOf(40), 1), isOfCrowd, limits, byLot).length, 40 - 15);
});

test("newcomers' half holds across policies: a crowd that answers for the newest one does not take all", () => {
  const queue = createReplayQueue(isOfCrowd);
  const established = queuedJobs(['established'], 600, 0);
  for (const job of [...queuedJobs(crowdOf(500), 4, 1), ...established]) queue.add(job);
  const replayed = { newcomers: 0, established: 0 };
  while (established.some(({ state }) => state === 'queued')) {
    const batch = queue.take(queue.policies()[0]!);
    for (const job of batch) {
      job.state = 'final';
      replayed[isOfCrowd(job.peer) ? 'newcomers' : 'established']++;
    }
    assert.ok(
      Math.abs(replayed.newcomers - replayed.established) <= 256,
      `a batch ahead at most: ${JSON.stringify(replayed)}`,
    );
  }
  assert.equal(queue.policies()[0], rootOf(1));
});

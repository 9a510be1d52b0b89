// What strangers can make a verifier remember: each place is fed more than it holds, by one key and by a crowd of them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sha256, toHex } from '../../node/protocol/bytes.ts';
import { ACCEPT, type CheckAnswer, reject } from '../../node/protocol/check.ts';
import { createKeyPair } from '../../node/protocol/keys.ts';
import type { PeerIdString } from '../../node/protocol/ports.ts';
import { decodeVerdict, encodeVerdict, type Verdict } from '../../node/protocol/verdict.ts';
import { createAcceptances, MAX_ACCEPTANCES_EACH } from '../../verifier/acceptances.ts';
import { LATE_STEPS } from '../../verifier/checks/stage-zero.ts';
import { limitsOf } from '../../verifier/checks/subject.ts';
import { type Commitments, createCommitments } from '../../verifier/commitments.ts';
import { createRoom } from '../../verifier/room.ts';
import { createStanding, MAX_WITHOUT_MERIT } from '../../verifier/standing.ts';
import { createVerifierStandings, MAX_KEPT as MAX_STANDINGS } from '../../verifier/verifier-standing.ts';
import { memoryRecords } from '../support/memory-store.ts';
import { otherVerifier } from './support/other-verifier.ts';
import { accountsFor, newDisk, startVerifier } from './support/running.ts';
import { makeGroup, newPeer, testContext, testRecipe } from './support/swarm.ts';

const context = testContext();
const known = 'known' as PeerIdString;
const isStranger = (verifier: PeerIdString): boolean => verifier !== known;
const stranger = (i: number): PeerIdString => `stranger ${i}` as PeerIdString;

test('a room holds no more than it may, in all and of each, whatever is said', () => {
  const verifiers = ['a', 'b', 'c', 'd'] as PeerIdString[];
  const step = fc.record({
    verifier: fc.constantFrom(...verifiers),
    subject: fc.constantFrom('1', '2', '3', '4', '5'),
    does: fc.constantFrom('add', 'add', 'add', 'delete', 'forget'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const room = createRoom<string>({
        max: 6,
        maxEach: 3,
        isStranger: (each) => each > 'b',
        isIdle: (each) => each > '3',
      });
      const model = new Map<string, PeerIdString>();
      for (const { verifier, subject, does } of steps) {
        const key = `${verifier}${subject}`;
        if (does === 'delete') room.delete(verifier, subject);
        if (does === 'forget') room.forget((said) => said.endsWith(subject));
        if (does === 'add') {
          const before = new Set(room.all());
          const isIn = room.add(verifier, subject, key);
          if (before.has(key)) assert.equal(isIn, false, 'said once');
          const left = [...before].filter((said) => !room.all().includes(said));
          assert.ok(left.length <= (isIn ? 1 : 0));
          assert.ok(left.every((said) => before.size === 6 && said[0]! > 'b' && (verifier <= 'b' || said[1]! > '3')));
          assert.equal(room.on(subject).get(verifier), isIn || before.has(key) ? key : undefined);
        }
        model.clear();
        for (const said of room.all()) model.set(said, said[0] as PeerIdString);
        assert.equal(model.size, room.size());
        assert.ok(room.size() <= 6);
        for (const each of verifiers) assert.ok([...model.values()].filter((owner) => owner === each).length <= 3);
      }
    }),
  );
});

test('in a full room only what strangers said makes room, for strangers where it is idle', () => {
  const [a, b, c, d] = ['a', 'b', 'c', 'd'] as [PeerIdString, PeerIdString, PeerIdString, PeerIdString];
  const full = { max: 2, maxEach: 2, isStranger: (each: PeerIdString) => each > 'b' };
  const room = createRoom<string>({ ...full, isIdle: (subject) => subject < '3' });
  assert.deepEqual([room.add(a, '1', 'a1'), room.add(c, '2', 'c2')], [true, true]);
  assert.deepEqual([room.add(d, '3', 'd3'), room.all()], [true, ['a1', 'd3']], 'c’s was idle');
  assert.deepEqual([room.add(c, '2', 'c2'), room.all()], [false, ['a1', 'd3']], 'd’s is not, a is no stranger');
  assert.deepEqual([room.add(b, '4', 'b4'), room.all()], [true, ['a1', 'b4']]);
  assert.deepEqual([room.add(b, '5', 'b5'), room.all()], [false, ['a1', 'b4']]);
});

/** An acceptance of a group, known by its number. */
function acceptance(group: number | string): Verdict {
  const { recipeId } = context.recipe;
  return {
    ...{ recipeId, policyStep: 0, groupId: sha256(`group ${group}`), peerId: newPeer().peerId, slot: 0 },
    ...{ answer: 'accept', code: null, limits: limitsOf(context.recipe) },
    ...{ secretHash: sha256('secret'), sequencesReplayed: 4 },
  };
}

/** Whatever secret a verdict names is its signer's. */
const committed: Commitments = {
  ...{ hear: () => false, areOf: () => true, secretOf: () => null, forgetBefore: () => undefined },
};

test('acceptances of groups that nobody knows fill their verifier’s own room, and a crowd’s not that of who was confirmed', () => {
  let answer: typeof ACCEPT | null = null;
  const acceptances = createAcceptances(
    { commitments: committed, ledger: { answerOn: () => answer, job: () => null }, standings: { isStranger } },
    { pMin: 0.1, groupSize: 4 },
  );
  const real = acceptance('real');
  for (let i = 0; i < MAX_ACCEPTANCES_EACH; i++) acceptances.theirs(stranger(0), { ...real, groupId: sha256(`${i}`) });
  acceptances.theirs(stranger(0), real);
  acceptances.theirs(stranger(1), real);
  const confirmed = (): readonly PeerIdString[] => {
    answer = ACCEPT;
    const verifiers = acceptances.ours(toHex(real.groupId)).map(({ verifier }) => verifier);
    answer = null;
    return verifiers;
  };
  assert.deepEqual(confirmed(), [stranger(1)]);
  // 16 rooms of one verifier are all there is.
  for (let i = 1; i <= 16; i++) {
    for (let group = 0; group < MAX_ACCEPTANCES_EACH; group++) {
      acceptances.theirs(stranger(i), { ...real, groupId: sha256(`${group}`) });
    }
  }
  acceptances.theirs(stranger(20), real);
  acceptances.theirs(known, real);
  assert.deepEqual(confirmed(), [known]);
  acceptances.forgetBefore(3);
  acceptances.theirs(stranger(20), real);
  assert.deepEqual(confirmed(), [stranger(20)], 'room again');
});

test('an acceptance counts at most once each way, however often we answer for its group', () => {
  let answer: CheckAnswer | null = null;
  const acceptances = createAcceptances(
    { commitments: committed, ledger: { answerOn: () => answer, job: () => null }, standings: { isStranger } },
    { pMin: 0.1, groupSize: 4 },
  );
  const said = acceptance('real');
  acceptances.theirs(known, said);
  const found = [ACCEPT, ACCEPT, reject('REWARD_MISMATCH'), reject('REWARD_MISMATCH'), ACCEPT].map((each) => {
    answer = each;
    return acceptances.ours(toHex(said.groupId)).map(({ is }) => is);
  });
  assert.deepEqual(found, [['confirmed'], [], ['contradicted'], [], []]);
});

test('a verifier stands behind one secret a step; a crowd’s do not take the place of who was confirmed', () => {
  const commitments = createCommitments({ isStranger });
  const { recipeId } = context.recipe;
  const commit = (verifier: PeerIdString, name: string, policyStep = 0, isShown = false): boolean => {
    const secret = sha256(name);
    return commitments.hear(verifier, {
      ...{ recipeId, policyStep, secretHash: sha256(secret), secret: isShown ? secret : null },
    });
  };
  const named = (name: string, policyStep = 0): { policyStep: number; secretHash: Uint8Array } => ({
    ...{ policyStep, secretHash: sha256(sha256(name)) },
  });
  commit(stranger(0), 'first');
  commit(stranger(0), 'second');
  commit(stranger(1), 'first');
  assert.equal(commitments.areOf(stranger(0), named('first')), true);
  assert.equal(commitments.areOf(stranger(1), named('first')), false, 'somebody else’s');
  assert.equal(commitments.areOf(stranger(0), named('second')), false, 'it has one');
  assert.equal(commitments.areOf(stranger(0), named('first', 1)), false, 'of another step');
  assert.equal(commitments.secretOf(named('first')), null);
  assert.deepEqual(
    [
      commit(stranger(0), 'second', 0, true),
      commit(stranger(0), 'first', 0, true),
      commit(stranger(0), 'first', 0, true),
    ],
    [false, true, false],
  );
  assert.deepEqual(commitments.secretOf(named('first')), sha256('first'));
  // As long as verdicts of its step pass, a secret has no successor.
  commitments.forgetBefore(LATE_STEPS);
  commit(stranger(0), 'second');
  assert.equal(commitments.areOf(stranger(0), named('first')), true);
  commitments.forgetBefore(LATE_STEPS + 1);
  assert.equal(commitments.areOf(stranger(0), named('first')), false);
  for (let i = 2; i < 20_000; i++) commit(stranger(i), `${i}`, i % 16);
  commit(known, 'known');
  assert.equal(commitments.areOf(stranger(19_999), named('19999', 19_999 % 16)), false, 'turned away');
  assert.equal(commitments.areOf(known, named('known')), true);
  for (let step = 0; step < 100; step++) commit(known, `step ${step}`, step);
  assert.equal(commitments.areOf(known, named('step 99', 99)), false);
});

test('however many keys lie, so many are remembered; those named and those once confirmed among them', async () => {
  const records = memoryRecords();
  const trainer = createKeyPair();
  const recipe = testRecipe({ verifiers: [toHex(trainer.publicKey)] });
  const standings = createVerifierStandings({ records }, recipe);
  const lie = { groupIdHex: '00', policyStep: 0, silences: true };
  await standings.contradict(trainer.peerIdString, lie);
  await standings.confirm(known, 1);
  for (let i = 0; i < MAX_STANDINGS + 10; i++) await standings.contradict(stranger(i), lie);
  assert.equal(standings.all().length, MAX_STANDINGS);
  let onDisk = 0;
  for await (const _ of records.entries({})) onDisk++;
  assert.equal(onDisk, MAX_STANDINGS);
  assert.equal(standings.isSilenced(trainer.peerIdString, 1), true);
  assert.equal(standings.of(known).confirmed, 1);
  assert.deepEqual(
    [stranger(0), stranger(MAX_STANDINGS + 9)].map((each) => standings.isSilenced(each, 1)),
    [false, true],
  );
  assert.deepEqual([known, trainer.peerIdString, stranger(5)].map(standings.isStranger), [false, false, true]);
});

test('announcements of ever new keys take the places of a step and no more; who is known is judged meanwhile', async () => {
  const disk = newDisk();
  const places = 16;
  const running = await startVerifier({ context, disk, places });
  const peer = newPeer();
  const crowd = Array.from({ length: 3 * places }, newPeer);
  const firsts = crowd.map((each) => makeGroup(context, each, 0));
  try {
    for (const slot of [0, 1]) await running.announce(makeGroup(context, peer, slot));
    await running.settle();
    assert.equal(running.verifier.standing.isKnown(peer.peerIdString), true);
    for (const group of firsts) await running.announce(group, { withBody: false });
    // The peer took two as a stranger.
    const { announced, sum, published } = {
      ...accountsFor(running.verifier),
      published: running.inbox.published.length,
    };
    assert.deepEqual([announced, sum], [places, places]);
    assert.equal(running.inbox.ignoredCounts()['RATE_LIMITED'], firsts.length - (places - 2));
    for (let slot = 2; slot < 2 + places; slot++) await running.announce(makeGroup(context, peer, slot));
    await running.settle();
    // It takes more while they are fewer than what is free of the known peers' own: half.
    assert.deepEqual(accountsFor(running.verifier), { announced: places + places / 2, sum: places + places / 2 });
    assert.equal(running.verifier.stats().accepted, 2 + places / 2);
    assert.equal(running.inbox.published.length - published, places / 2, 'no verdict on what took no place');
    // Two groups for one slot are evidence, however full the step is.
    const [liar] = crowd;
    const other = makeGroup(context, liar!, 0, 0, {
      body: (body) => ({ ...body, prompt: body.prompt.slice().reverse() }),
    });
    await running.give(firsts[0]!);
    await running.announce(other);
    await running.settle(5_000);
    assert.deepEqual([firsts[0]!, other].map(running.verdictOn), [
      'reject SLOT_EQUIVOCATION',
      'reject SLOT_EQUIVOCATION',
    ]);
  } finally {
    await running.stop();
  }
  const again = await startVerifier({ context, disk, places });
  try {
    await again.settle();
    const { announced, sum } = accountsFor(again.verifier);
    assert.deepEqual([announced, sum], [places - 3, places - 3], 'those without a verdict, and no others');
  } finally {
    await again.stop();
  }
});

test('however many keys are rejected, so many are remembered; who has earned something among them', async () => {
  const records = memoryRecords();
  const settings = { probationGroups: 2, pMin: 0.1, quarantineSteps: 14, delta: 1e-4 };
  const standing = createStanding({ records }, { scope: 'a', settings });
  const outcome = { policyStep: 5, answer: 'accept', code: null, whole: true } as const;
  const failed = { ...outcome, answer: 'reject', code: 'REWARD_MISMATCH' } as const;
  for (const peer of [stranger(0), known, known, 'on probation'])
    await standing.record(peer, peer === stranger(0) ? failed : outcome);
  for (let i = 1; i < MAX_WITHOUT_MERIT; i++) await standing.record(stranger(i), failed);
  await standing.forgetIdle();
  assert.equal(standing.isQuarantined(stranger(0), 5), true, 'no more than there is room for');
  for (let i = 0; i < 10; i++) await standing.record(stranger(MAX_WITHOUT_MERIT + i), failed);
  await standing.forgetIdle();
  const held = [0, 9, 10, MAX_WITHOUT_MERIT + 9].map((i) => standing.isQuarantined(stranger(i), 5));
  assert.deepEqual(held, [false, false, true, true]);
  assert.equal(standing.isKnown(known), true);
  assert.equal(standing.of('on probation').probationPassed, 1);
  let onDisk = 0;
  for await (const _ of records.entries({})) onDisk++;
  assert.deepEqual([onDisk, standing.all().length], [MAX_WITHOUT_MERIT + 2, MAX_WITHOUT_MERIT + 2]);
});

test('rejections of groups that nobody knows wait within bounds, and make room for one that can be looked into', async () => {
  const running = await startVerifier({ context });
  try {
    const group = makeGroup(context, newPeer(), 0);
    await running.announce(group);
    await running.settle();
    const [liar, other] = [otherVerifier(running), makeGroup(context, newPeer(), 0)];
    const message = await liar.reject(other, 'LOGPROB_DRIFT', { sequence: 0 });
    const verdict = decodeVerdict(message.payload);
    const payloads = Array.from({ length: 130 }, (_, i) => encodeVerdict({ ...verdict, groupId: sha256(`${i}`) }));
    const reject = async (peerIdString: PeerIdString): Promise<void> => {
      const { recipeIdHex } = context.recipe;
      for (const payload of payloads) await running.inbox.deliver({ ...message, peerIdString, payload }, recipeIdHex);
    };
    await reject(liar.keyPair.peerIdString);
    assert.equal(running.verifier.doubts().waiting, 128, 'of one verifier');
    for (let i = 0; i < 9; i++) await reject(stranger(i));
    assert.equal(running.verifier.doubts().waiting, 1024, 'in all');
    const late = otherVerifier(running);
    await late.reject(group, 'LOGPROB_DRIFT', { sequence: 0 });
    await running.settle();
    assert.equal(late.isSilenced(), true);
    // What had to leave may be said again once it can be looked into.
    await running.announce(other);
    await running.settle();
    assert.equal(liar.isSilenced(), false, 'its rejection of that group has left');
    await liar.reject(other, 'LOGPROB_DRIFT', { sequence: 0 });
    await running.settle();
    assert.equal(liar.isSilenced(), true);
  } finally {
    await running.stop();
  }
});

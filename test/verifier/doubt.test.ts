// What a verifier makes of other verifiers' rejections, with memory ports and scripted policies.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../node/protocol/bytes.ts';
import { SwarmError } from '../../node/protocol/errors.ts';
import { createRecheckBudget } from '../../verifier/recheck-budget.ts';
import { choiceOf } from '../../verifier/secrets.ts';
import { drifted, loseBodies, missed, SAMPLING, withRunning } from './support/doubting.ts';
import { otherVerifier } from './support/other-verifier.ts';
import { newDisk, startVerifier } from './support/running.ts';
import {
  GROUP_SIZE,
  type MadeGroup,
  makeGroup,
  newPeer,
  testChain,
  testContext,
  testRecipe,
  withSequence,
} from './support/swarm.ts';

test('a rejection that repeats takes our acceptance back, at the cost of one sequence', async () => {
  await withRunning(SAMPLING, async (running, other) => {
    await other.commit(0);
    const { group, bad } = await missed(running);
    const before = running.engine.replays.length;
    await other.reject(group, 'LOGPROB_DRIFT', { sequence: bad, position: 0, measured: 0.01, limit: 1e-3 });
    await running.settle();
    assert.equal(running.verdictOn(group), 'reject LOGPROB_DRIFT');
    assert.equal(running.verdictsOn(group).at(-1)!.evidence!.sequence, bad);
    assert.deepEqual(
      running.engine.replays.slice(before).map(({ sequences }) => sequences),
      [1],
    );
    const { peers } = running.verifier.stats();
    assert.equal(peers.find(({ peer }) => peer === group.message.peerIdString)!.secondChance, true);
    assert.deepEqual([other.standing().confirmed, other.isSilenced()], [1, false]);
    // Who says the same afterwards may be our echo: no look, and no standing.
    const second = otherVerifier(running);
    await second.commit(0);
    await second.reject(group, 'LOGPROB_DRIFT', { sequence: bad });
    await running.settle();
    assert.equal(running.engine.replays.length, before + 1);
    assert.equal(second.standing().confirmed, 0);
    assert.deepEqual(running.verifier.doubts().repeated, 1);
  });
});

test('a rejection that does not repeat has no effect and silences its verifier, for 14 steps and over a restart', async () => {
  const disk = newDisk();
  const chain = testChain();
  await withRunning({ disk, chain }, async (running, other) => {
    const peer = newPeer();
    const groups = [0, 1, 2].map((slot) => makeGroup(running.context, peer, slot));
    for (const group of groups) await running.announce(group);
    await running.settle();
    const before = running.engine.replays.length;
    await other.reject(groups[0]!, 'REPLAY_MISMATCH', { sequence: 1, position: 0, u: 0.5, x: 0.6, y: 0.7 });
    await running.settle();
    assert.deepEqual(groups.map(running.verdictOn), ['accept', 'accept', 'accept']);
    assert.equal(other.isSilenced(), true);
    assert.deepEqual(other.standing().silencedUntilStep, 14);
    // A silenced verifier costs nothing.
    await other.reject(groups[1]!, 'REPLAY_MISMATCH', { sequence: 1, position: 0 });
    await running.settle();
    assert.equal(running.engine.replays.length, before + 1);
    assert.deepEqual(running.verifier.doubts(), {
      waiting: 0,
      repeated: 0,
      refuted: 1,
      unsettled: 0,
      tokens: groups[0]!.announcement.lengths[1]!,
    });
  });
  const again = await startVerifier({ disk, chain });
  try {
    const [standing] = again.verifier.verifiers.all();
    assert.equal(standing!.contradicted, 1);
    assert.equal(again.verifier.verifiers.isSilenced(standing!.verifier, 14), true);
    assert.equal(again.verifier.verifiers.isSilenced(standing!.verifier, 15), false);
  } finally {
    await again.stop();
  }
});

test('a recheck counts for nobody’s slack, and a peer whose slack is used up is not thereby wrong in one sequence', async () => {
  await withRunning({}, async (running, other) => {
    const group = makeGroup(running.context, newPeer(), 0);
    const peer = group.message.peerIdString;
    await running.announce(group);
    await running.settle();
    const { standing } = running.verifier;
    standing.countSlack(peer, 100, 20);
    const { checkedTokens, slackTokens, softMisses } = standing.of(peer);
    await other.reject(group, 'LOGPROB_DRIFT', { sequence: 1, position: 0 });
    await running.settle();
    assert.equal(running.verdictOn(group), 'accept');
    assert.equal(other.isSilenced(), true);
    const after = standing.of(peer);
    assert.deepEqual(
      [after.checkedTokens, after.slackTokens, after.softMisses],
      [checkedTokens, slackTokens, softMisses],
    );
  });
});

test('our own SLACK_ABUSED, a fact about many groups, bears out and contradicts nobody who judged this one', async () => {
  await withRunning({}, async (running, other) => {
    await other.commit(0);
    const group = makeGroup(running.context, newPeer(), 0);
    const whole = otherVerifier(running);
    let sampled = otherVerifier(running);
    while (choiceOf(sampled.secretOf(0), group.message.id, GROUP_SIZE).sequence !== 0) sampled = otherVerifier(running);
    for (const each of [whole, sampled]) await each.commit(0);
    await whole.accept(group);
    await sampled.accept(group, 1);
    running.verifier.standing.countSlack(group.message.peerIdString, 100, 20);
    await other.reject(group, 'LOGPROB_DRIFT', { sequence: 1, position: 0 });
    await running.announce(group);
    await running.settle();
    assert.equal(running.verdictOn(group), 'reject SLACK_ABUSED');
    assert.equal(running.verdictsOn(group)[0]!.evidence!.sequence, 0);
    await sampled.show(0);
    for (const { standing } of [other, whole, sampled]) {
      assert.deepEqual([standing().confirmed, standing().contradicted], [0, 0]);
    }
    assert.equal(running.verifier.doubts().unsettled, 1);
  });
});

test('a recheck that was not possible is made when the next verifier asks for it', async () => {
  await withRunning({}, async (running, other) => {
    const group = makeGroup(running.context, newPeer(), 0);
    await running.announce(group);
    await running.settle();
    await running.store.delete(toHex(group.announcement.bodyHash));
    const peers = [...running.fetcher.peers];
    running.fetcher.peers.clear();
    await other.reject(group, 'LOGPROB_DRIFT', { sequence: 1 });
    await running.settle();
    assert.deepEqual([running.verifier.doubts().unsettled, other.isSilenced()], [1, false]);
    for (const [peer, served] of peers) running.fetcher.peers.set(peer, served);
    const second = otherVerifier(running);
    await second.reject(group, 'LOGPROB_DRIFT', { sequence: 1 });
    await running.settle();
    assert.deepEqual([running.verifier.doubts().refuted, second.isSilenced()], [1, true]);
  });
});

test('what two verifiers say of one sequence is looked into once, and holds for both', async () => {
  await withRunning({}, async (running, other) => {
    const group = makeGroup(running.context, newPeer(), 0);
    await running.announce(group);
    await running.settle();
    const before = running.engine.replays.length;
    const liars = [other, otherVerifier(running)];
    for (const liar of liars) await liar.reject(group, 'LOGPROB_DRIFT', { sequence: 1 });
    await running.settle();
    assert.deepEqual([running.engine.replays.length - before, running.verifier.doubts().refuted], [1, 2]);
    assert.deepEqual(
      liars.map((liar) => liar.isSilenced()),
      [true, true],
    );
  });
});

test('what is said of a quarantined peer’s groups is not looked into', async () => {
  await withRunning({}, async (running, other) => {
    const peer = newPeer();
    const [good, bad] = [
      makeGroup(running.context, peer, 0),
      makeGroup(running.context, peer, 1, 0, {
        announcement: (truth) => ({ ...truth, rewards: truth.rewards.map((reward) => reward + 1) }),
      }),
    ];
    for (const group of [good, bad]) await running.announce(group);
    await running.settle();
    assert.deepEqual([good, bad].map(running.verdictOn), ['ignore QUARANTINED', 'reject REWARD_MISMATCH']);
    const before = running.engine.replays.length;
    await other.reject(good, 'LOGPROB_DRIFT', { sequence: 1 });
    await running.settle();
    const { waiting, refuted, unsettled } = running.verifier.doubts();
    assert.deepEqual([waiting, refuted, unsettled, running.engine.replays.length - before], [0, 0, 0, 0]);
  });
});

test('those whose word has counted are heard first', async () => {
  await withRunning({}, async (running, known) => {
    await known.commit(0);
    const groups = [0, 1, 2, 3].map(() => makeGroup(running.context, newPeer(), 0));
    await known.accept(groups[0]!);
    for (const group of groups) await running.announce(group);
    await running.settle();
    assert.equal(known.standing().confirmed, 1);
    const replay = Promise.withResolvers<void>();
    running.engine.beforeReplay = () => replay.promise;
    const liars = [otherVerifier(running), otherVerifier(running), known];
    for (const [i, liar] of liars.entries()) await liar.reject(groups[i + 1]!, 'LOGPROB_DRIFT', { sequence: 1 });
    await running.settle();
    replay.resolve();
    await running.settle();
    const silenced = running.lines.filter(({ level }) => level === 'warn').map(({ context }) => context);
    assert.deepEqual(
      silenced.map((context) => 'verifier' in context && context.verifier),
      [0, 2, 1].map((i) => liars[i]!.keyPair.peerIdString),
    );
  });
});

test('rechecks that fail take the rest of their verifier’s budget: one a step', async () => {
  await withRunning({}, async (running, other) => {
    const groups = [0, 1].map(() => makeGroup(running.context, newPeer(), 0));
    for (const group of groups) await running.announce(group);
    await running.settle();
    await loseBodies(running, groups);
    for (const group of groups) await other.reject(group, 'LOGPROB_DRIFT', { sequence: 1 });
    await running.settle();
    const { waiting, unsettled } = running.verifier.doubts();
    assert.deepEqual([waiting, unsettled], [1, 1]);
  });
});

test('a full disk does not end the doubting', async () => {
  const running = await startVerifier();
  const liars = [0, 1].map(() => otherVerifier(running));
  const group = makeGroup(running.context, newPeer(), 0);
  await running.announce(group);
  await running.settle();
  const { put } = running.disk.records;
  running.disk.records.put = async () => {
    throw new SwarmError('DISK_FULL', 'no room');
  };
  await liars[0]!.reject(group, 'LOGPROB_DRIFT', { sequence: 1 });
  await running.settle();
  assert.equal(liars[0]!.isSilenced(), true, 'in memory');
  running.disk.records.put = put;
  await liars[1]!.reject(group, 'LOGPROB_DRIFT', { sequence: 1 });
  await running.settle();
  assert.equal(liars[1]!.isSilenced(), true);
  assert.equal(running.verifier.doubts().waiting, 0);
  assert.equal(running.lines.filter(({ level }) => level === 'error').length, 1);
  await running.stop();
});

test('an exact rejection runs stage 1 again, without a replay; one that no check gives needs not even that', async () => {
  await withRunning({}, async (running) => {
    const group = makeGroup(running.context, newPeer(), 0);
    await running.announce(group);
    await running.settle();
    const before = running.engine.replays.length;
    const liars = [0, 1, 2].map(() => otherVerifier(running));
    await liars[0]!.reject(group, 'REWARD_MISMATCH', { sequence: 0, measured: 1, limit: 0 });
    await liars[1]!.reject(group, 'TOO_OLD');
    await liars[2]!.reject(group, 'REPLAY_MISMATCH', { sequence: GROUP_SIZE });
    await running.settle();
    assert.deepEqual(
      liars.map((each) => each.isSilenced()),
      [true, true, true],
    );
    assert.equal(running.engine.replays.length, before);
    assert.equal(running.verdictOn(group), 'accept');
  });
});

test('what cannot be settled here costs nobody anything: between the limits, a body or policy that is gone, another slot', async () => {
  const drift = 1.5 * testRecipe().recipe.verification.maxMeanLogprobDrift;
  await withRunning(SAMPLING, async (running, other) => {
    // What is not possible costs its verifier the rest of the step's budget.
    const second = otherVerifier(running);
    const between = makeGroup(running.context, newPeer(), 0, 0, {
      body: withSequence(0, (each) => ({ ...each, logprobs: each.logprobs.map((value) => value - drift) })),
    });
    const [gone, slack] = [0, 1].map(() => makeGroup(running.context, newPeer(), 0)) as [MadeGroup, MadeGroup];
    for (const group of [between, gone, slack]) await running.announce(group);
    await running.settle();
    running.chain.moveTo(1);
    running.chain.evictBefore = 2;
    const left = makeGroup(running.context, newPeer(), 0, 1);
    await running.announce(left);
    await running.settle();
    assert.equal(running.verdictOn(left), 'ignore POLICY_UNAVAILABLE');
    await second.reject(left, 'LOGPROB_DRIFT', { sequence: 0 });
    await other.reject(between, 'LOGPROB_DRIFT', { sequence: 0 });
    await running.settle();
    await running.store.delete(toHex(gone.announcement.bodyHash));
    running.fetcher.peers.clear();
    await other.reject(gone, 'LOGPROB_DRIFT', { sequence: 0 });
    await other.reject(slack, 'SLACK_ABUSED', { sequence: 0 });
    await running.settle();
    assert.deepEqual(running.verifier.doubts(), {
      ...running.verifier.doubts(),
      repeated: 0,
      refuted: 0,
      unsettled: 4,
    });
    assert.equal(other.isSilenced(), false);
  });
});

test('a rejection of a group that is not known yet waits for it, and its policy step', async () => {
  await withRunning({}, async (running, other) => {
    const group = makeGroup(running.context, newPeer(), 0);
    await other.reject(group, 'REPLAY_MISMATCH', { sequence: 0 });
    await running.settle();
    assert.equal(running.verifier.doubts().waiting, 1);
    await running.announce(group);
    await running.settle();
    assert.equal(other.isSilenced(), true);
    const never = otherVerifier(running);
    await never.reject(makeGroup(running.context, newPeer(), 0), 'REPLAY_MISMATCH', { sequence: 0 });
    running.chain.moveTo(5);
    await running.settle(1000);
    assert.equal(running.verifier.doubts().waiting, 0, 'the step has left maxLag');
    assert.equal(never.isSilenced(), false);
  });
});

test('rejections that were said before ours are borne out by it without another look', async () => {
  await withRunning({}, async (running, other) => {
    await other.commit(0);
    const bad = makeGroup(running.context, newPeer(), 0, 0, drifted(2));
    await other.reject(bad, 'LOGPROB_DRIFT', { sequence: 2 });
    await running.announce(bad);
    await running.settle();
    assert.equal(running.engine.replays.length, 1);
    assert.equal(other.standing().confirmed, 1);
  });
});

test('a budget: each verifier and step alone, strangers together, one recheck a step in any case', () => {
  const budget = createRecheckBudget(100);
  assert.equal(budget.take('a', false, 1000, 0), true, 'the first is never too long');
  assert.equal(budget.take('a', false, 1, 0), false);
  assert.equal(budget.take('b', false, 60, 0), true);
  assert.equal(budget.take('b', false, 41, 0), false);
  assert.equal(budget.take('b', false, 40, 0), true);
  const taken = Array.from({ length: 9 }, (_, i) => budget.take(`stranger ${i}`, true, 60, 0));
  assert.deepEqual(taken.filter((each) => each).length, 6, 'of 400 tokens');
  assert.equal(budget.take('a', false, 100, 1), true, 'a new step');
});

test('rejections beyond the budget wait for the next step', async () => {
  const context = testContext();
  await withRunning({ context, recheckTokens: 1 }, async (running, other) => {
    await other.commit(0);
    const peer = newPeer();
    const groups = [0, 1].map((slot) => makeGroup(context, peer, slot));
    for (const group of groups) await running.announce(group);
    await running.settle();
    // Unsettled rather than refuted, so that the verifier may go on: the bodies are gone.
    await loseBodies(running, groups);
    for (const group of groups) await other.reject(group, 'REPLAY_MISMATCH', { sequence: 0 });
    await running.settle();
    assert.equal(running.verifier.doubts().waiting, 1);
    running.chain.moveTo(1);
    await running.settle(1000);
    assert.equal(running.verifier.doubts().waiting, 0);
  });
});

// A verifier that is killed between what it says and what it writes down of the peer: the rejection counts at the next start, once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf } from '../../node/protocol/check.ts';
import type { KeyPair } from '../../node/protocol/keys.ts';
import type { Records } from '../../node/protocol/ports.ts';
import { type Disk, newDisk, type Running, startVerifier } from './support/running.ts';
import { type MadeGroup, makeGroup, newPeer, testChain, testContext } from './support/swarm.ts';

const CONTEXT = testContext();

/** A disk that takes no standing any more once its node is killed; whoever writes one waits for ever. */
function killableDisk(): { readonly disk: Disk; kill: () => void; readonly left: Disk } {
  const left = newDisk();
  let isKilled = false;
  const records: Records = {
    ...left.records,
    put: (key, value) =>
      isKilled && key.includes('/standing/') ? new Promise(() => {}) : left.records.put(key, value),
  };
  const kill = (): void => {
    isKilled = true;
  };
  return { disk: { ...left, records }, kill, left };
}

const lie = (peer: KeyPair, slot: number, policyStep = 0): MadeGroup =>
  makeGroup(CONTEXT, peer, slot, policyStep, {
    announcement: (honest) => ({ ...honest, rewards: honest.rewards.map((reward) => reward + 1) }),
  });

const drifted = (peer: KeyPair, slot: number): MadeGroup =>
  makeGroup(CONTEXT, peer, slot, 0, {
    body: ({ prompt, sequences }) => ({
      prompt,
      sequences: sequences.map((each) => ({ ...each, logprobs: each.logprobs.map((value) => value - 0.01) })),
    }),
  });

const otherTokens = (peer: KeyPair, slot: number): MadeGroup =>
  makeGroup(CONTEXT, peer, slot, 0, {
    body: ({ prompt, sequences }) => ({
      prompt,
      sequences: sequences.map((each) => ({ ...each, tokens: each.tokens.map((token) => token ^ 1) })),
    }),
  });

async function announce(running: Running, ...groups: readonly MadeGroup[]): Promise<void> {
  for (const group of groups) {
    await running.announce(group);
    for (let i = 0; i < 3; i++) await running.settle();
  }
}

test('a liar whose rejection was said and not written down is quarantined at the next start, its groups dropped', async (t) => {
  const { disk, kill, left } = killableDisk();
  const peer = newPeer();
  const before = await startVerifier({ context: CONTEXT, disk });
  const good = [0, 1, 2, 3].map((slot) => makeGroup(CONTEXT, peer, slot));
  await announce(before, ...good);
  kill();
  await announce(before, lie(peer, 4));
  assert.equal(before.verdictOn(lie(peer, 4)), 'reject REWARD_MISMATCH');
  assert.equal(before.verdictOn(good[3]!), 'accept', 'killed before it took back what it had accepted');

  const again = await startVerifier({ context: CONTEXT, disk: left });
  t.after(() => again.stop());
  await again.settle();
  const { standing } = again.verifier;
  assert.deepEqual([standing.isQuarantined(peer.peerIdString, 0), standing.isKnown(peer.peerIdString)], [true, false]);
  assert.equal(standing.of(peer.peerIdString).rejectedGroups, 1);
  for (const group of good) assert.equal(again.verdictOn(group), 'ignore QUARANTINED');
  assert.equal(codeOf(await again.announce(makeGroup(CONTEXT, peer, 5))), 'QUARANTINED');
});

test('a rejection that was written down counts once, however often the verifier starts', async () => {
  const disk = newDisk();
  const [peer, twofold] = [newPeer(), newPeer()];
  for (let start = 0; start < 3; start++) {
    const running = await startVerifier({ context: CONTEXT, disk });
    if (start === 0) {
      await announce(running, makeGroup(CONTEXT, peer, 0), drifted(peer, 1));
      await announce(running, makeGroup(CONTEXT, twofold, 0), otherTokens(twofold, 0));
    }
    await running.settle();
    assert.equal(running.verifier.standing.of(twofold.peerIdString).rejectedGroups, 1);
    const { rejectedGroups, secondChance, quarantinedUntilStep } = running.verifier.standing.of(peer.peerIdString);
    assert.deepEqual(
      { rejectedGroups, secondChance, quarantinedUntilStep },
      { rejectedGroups: 1, secondChance: true, quarantinedUntilStep: null },
    );
    await running.stop();
  }
});

test('two groups for one slot that were told of and not written down begin probation anew, once', async () => {
  const { disk, kill, left } = killableDisk();
  const peer = newPeer();
  const before = await startVerifier({ context: CONTEXT, disk });
  await announce(before, ...[0, 1, 2].map((slot) => makeGroup(CONTEXT, peer, slot)));
  assert.equal(before.verifier.standing.isKnown(peer.peerIdString), true);
  kill();
  await announce(before, otherTokens(peer, 2));
  assert.equal(before.verdictOn(otherTokens(peer, 2)), 'reject SLOT_EQUIVOCATION');
  const again = await startVerifier({ context: CONTEXT, disk: left });
  await again.settle();
  const { onProbation, secondChance, quarantinedUntilStep } = again.verifier.standing.of(peer.peerIdString);
  assert.deepEqual(
    { onProbation, secondChance, quarantinedUntilStep },
    { onProbation: true, secondChance: true, quarantinedUntilStep: null },
  );
  await again.stop();
});

test('what was accepted of a peer that was written down as quarantined is taken back at the next start', async (t) => {
  const disk = newDisk();
  const peer = newPeer();
  const before = await startVerifier({ context: CONTEXT, disk });
  const good = [0, 1, 2].map((slot) => makeGroup(CONTEXT, peer, slot));
  await announce(before, ...good);
  await announce(before, lie(peer, 3));
  // Killed once the standing was written: not a word follows the rejection.
  while (good.some((group) => before.verdictOn(group) !== 'accept')) disk.messages.pop();
  const again = await startVerifier({ context: CONTEXT, disk });
  t.after(() => again.stop());
  await again.settle();
  for (const group of good) assert.equal(again.verdictOn(group), 'ignore QUARANTINED');
});

test('a rejection counts at the next start while its quarantine would last, also beyond maxLag, and no longer', async () => {
  const { quarantineSteps } = CONTEXT.recipe.recipe.verification;
  for (const [step, isHeld] of [
    [quarantineSteps, true],
    [quarantineSteps + 1, false],
  ] as const) {
    const { disk, kill, left } = killableDisk();
    const peer = newPeer();
    const before = await startVerifier({ context: CONTEXT, disk });
    kill();
    await announce(before, lie(peer, 0));
    const again = await startVerifier({ context: CONTEXT, disk: left, chain: testChain(step) });
    await again.settle();
    assert.equal(again.verifier.standing.isQuarantined(peer.peerIdString, quarantineSteps), isHeld, `at step ${step}`);
    await again.stop();
  }
});

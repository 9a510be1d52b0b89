// A running verifier and another whose word it doubts: what tests of rejections and of acceptances share.

import assert from 'node:assert/strict';
import { toHex } from '../../../node/protocol/bytes.ts';
import type { BodyContext } from '../../../verifier/checks/subject.ts';
import { type OtherVerifier, otherVerifier } from './other-verifier.ts';
import { type Running, startVerifier } from './running.ts';
import { type Alteration, type MadeGroup, makeGroup, newPeer, testContext, testRecipe, withSequence } from './swarm.ts';

/** Wrong log-probs in one sequence. */
export const drifted = (sequence: number): Alteration => ({
  body: withSequence(sequence, (each) => ({ ...each, logprobs: each.logprobs.map((value) => value - 0.01) })),
});

/** Runs a verifier with another beside it; it must have logged no error. */
export async function withRunning(
  options: Parameters<typeof startVerifier>[0],
  run: (running: Running, other: OtherVerifier) => Promise<void>,
): Promise<void> {
  const running = await startVerifier(options);
  try {
    await run(running, otherVerifier(running));
    assert.deepEqual(
      running.lines.filter(({ level }) => level === 'error'),
      [],
    );
  } finally {
    await running.stop();
  }
}

/** A verifier that looks at one sequence of a group, and which one that is of the first group made. */
export const SAMPLING: { readonly context: BodyContext } = {
  context: testContext(testRecipe({ probationGroups: 0, pMin: 1e-9 })),
};

/** A group with one bad sequence that our own verifier accepted: it looked at another. */
export async function missed(running: Running): Promise<{ readonly group: MadeGroup; readonly bad: number }> {
  for (;;) {
    const bad = 2;
    const group = makeGroup(running.context, newPeer(), 0, 0, drifted(bad));
    await running.announce(group);
    await running.settle();
    if (running.verdictOn(group) === 'accept') return { group, bad };
  }
}

/** Bodies that nobody has any more. */
export async function loseBodies({ fetcher, store }: Running, groups: readonly MadeGroup[]): Promise<void> {
  fetcher.peers.clear();
  for (const group of groups) await store.delete(toHex(group.announcement.bodyHash));
}

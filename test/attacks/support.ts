// A scene for attacks: a running verifier, an honest peer whose groups must stay unharmed, and a liar.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GroupBody } from '../../node/protocol/body.ts';
import type { KeyPair } from '../../node/protocol/keys.ts';
import { groupSeed } from '../../node/protocol/seeds.ts';
import { type BodyContext, samplingOf } from '../../verifier/checks/subject.ts';
import { proveCompletion } from '../../verifier/toploc/completion.ts';
import { accountsFor, type Running, startVerifier } from '../verifier/support/running.ts';
import { HIDDEN_SIZE, scriptedPolicy } from '../verifier/support/scripted-policy.ts';
import { type Alteration, type MadeGroup, makeGroup, newPeer, rootOf, testContext } from '../verifier/support/swarm.ts';

export interface Scene extends Running {
  readonly liar: KeyPair;
  /** a group of the liar */
  lie(slot: number, alteration: Alteration): MadeGroup;
  /** the seed of the liar's group of a slot at step 0 */
  seedOf(slot: number): Uint8Array;
  /** announces and judges, one after another. @returns the verdicts */
  judge(...groups: readonly MadeGroup[]): Promise<readonly (string | null)[]>;
  isQuarantined(): boolean;
}

/**
 * What a forger does to the body of a lie: one prefill of the true policy of step 0, for true log-probs and proofs of
 * whatever tokens are there. Only the draws can betray it then.
 */
export function forge(context: BodyContext): (body: GroupBody) => GroupBody {
  const truth = scriptedPolicy(rootOf(0));
  return (body) => ({
    ...body,
    sequences: body.sequences.map((sequence) => {
      const { logprobs, hidden } = truth.replay(body.prompt, sequence.tokens, samplingOf(context));
      return { ...sequence, logprobs, proofs: proveCompletion(hidden, HIDDEN_SIZE) };
    }),
  });
}

/** Runs an attack; afterwards an honest peer's group must be accepted and every group be counted once. */
export function attack(
  name: string,
  run: (scene: Scene) => Promise<void>,
  context: BodyContext = testContext(),
  options: Pick<NonNullable<Parameters<typeof startVerifier>[0]>, 'waitingLimits'> = {},
): void {
  test(name, async () => {
    const running = await startVerifier({ context, ...options });
    const liar = newPeer();
    const scene: Scene = {
      ...running,
      liar,
      lie: (slot, alteration) => makeGroup(running.context, liar, slot, 0, alteration),
      seedOf: (slot) => groupSeed(makeGroup(running.context, liar, slot).announcement),
      async judge(...groups) {
        for (const group of groups) {
          await running.announce(group);
          await running.settle();
        }
        return groups.map(running.verdictOn);
      },
      isQuarantined: () => running.verifier.standing.isQuarantined(liar.peerIdString, 0),
    };
    try {
      await run(scene);
      const honest = makeGroup(running.context, newPeer(), 0, running.chain.announced()!.policyStep);
      assert.deepEqual(await scene.judge(honest), ['accept'], 'an honest peer is unharmed');
      const { announced, sum } = accountsFor(running.verifier);
      assert.equal(announced, sum, 'every announced group is counted once');
      assert.deepEqual(
        running.lines.filter(({ level }) => level === 'error'),
        [],
      );
    } finally {
      await running.stop();
    }
  });
}

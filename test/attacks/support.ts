// A scene for attacks: a running verifier, an honest peer whose groups must stay unharmed, and a liar.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeyPair } from '../../node/protocol/keys.ts';
import { accountsFor, type Running, startVerifier } from '../verifier/support/running.ts';
import { type Alteration, type MadeGroup, makeGroup, newPeer } from '../verifier/support/swarm.ts';

export interface Scene extends Running {
  readonly liar: KeyPair;
  /** a group of the liar */
  lie(slot: number, alteration: Alteration): MadeGroup;
  /** announces and judges, one after another. @returns the verdicts */
  judge(...groups: readonly MadeGroup[]): Promise<readonly (string | null)[]>;
  isQuarantined(): boolean;
}

/** Runs an attack; afterwards an honest peer's group must be accepted and every group be counted once. */
export function attack(name: string, run: (scene: Scene) => Promise<void>): void {
  test(name, async () => {
    const running = await startVerifier();
    const liar = newPeer();
    const scene: Scene = {
      ...running,
      liar,
      lie: (slot, alteration) => makeGroup(running.context, liar, slot, 0, alteration),
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
      const honest = makeGroup(running.context, newPeer(), 0);
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

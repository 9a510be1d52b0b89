// What a verifier tells of its rejections: each, and a quarantine once, with nothing kept of peers but their standing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoleEvent } from '../../../node/cli/events.ts';
import type { RoleContext } from '../../../node/cli/roles/role.ts';
import { tellRejections } from '../../../node/cli/roles/verifier.ts';
import type { CheckCode } from '../../../node/protocol/check.ts';
import { createKeyPair } from '../../../node/protocol/keys.ts';
import { createStanding, type Standing } from '../../../verifier/standing.ts';
import { memoryInbox } from '../../support/memory-inbox.ts';
import { memoryRecords } from '../../support/memory-store.ts';
import { testRecipe, verdictBy } from '../../verifier/support/swarm.ts';

test('a rejection is told with how many groups were judged, a quarantine once, without a look at other peers', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const recipe = testRecipe();
  const { verification } = recipe.recipe;
  const settings = { ...verification, quarantineSteps: 14 };
  const real = createStanding({ records: memoryRecords() }, { scope: recipe.recipeIdHex, settings });
  const walk = (): never => assert.fail('all peers were looked at');
  const standing: Standing = { ...real, all: walk, of: walk };
  const inbox = memoryInbox();
  const events: RoleEvent[] = [];
  const participant = { inbox, keyPair: inbox.keyPair } as unknown as RoleContext['participant'];
  const stop = tellRejections({ participant, emit: (event) => events.push(event) }, { standing }, recipe.recipeIdHex);

  const peer = createKeyPair();
  let slot = 0;
  /** As a verifier does it: the verdict, then the standing. */
  async function judge(code: CheckCode | null, policyStep = 1, waitMs = 1_000): Promise<void> {
    const answer = code === null ? 'accept' : 'reject';
    const { payload } = verdictBy(inbox.keyPair, recipe, { peer, policyStep, slot: slot++, code });
    await inbox.publish('verdict', payload, recipe.recipeIdHex);
    await real.record(peer.peerIdString, { policyStep, answer, code, whole: false });
    t.mock.timers.tick(waitMs);
  }
  const told = (): unknown[] =>
    events
      .splice(0)
      .map((each) =>
        each.event === 'quarantined'
          ? [each.untilStep, each.judgedOfPeer]
          : 'judgedOfPeer' in each
            ? each.judgedOfPeer
            : each,
      );

  for (let i = 0; i < 3; i++) await judge(null);
  assert.deepEqual(told(), []);
  await judge('LOGPROB_DRIFT');
  assert.deepEqual(told(), [4]);
  await judge('LOGPROB_DRIFT');
  assert.deepEqual(told(), [5, [15, 5]]);
  await judge('LOGPROB_DRIFT');
  assert.deepEqual(told(), [6], 'the same quarantine');
  await judge('REWARD_MISMATCH', 30);
  assert.deepEqual(told(), [7, [44, 7]], 'another');
  // Two that were replayed together: standing of neither is known when the verdicts come.
  const { record } = real;
  const late: (() => Promise<unknown>)[] = [];
  real.record = async (...outcome) => late.push(() => record(...outcome)) === 0;
  await judge('REWARD_MISMATCH', 60, 0);
  await judge('REWARD_MISMATCH', 60, 100);
  for (const each of late) await each();
  t.mock.timers.tick(1_000);
  assert.deepEqual(told(), [8, 8, [74, 9]], 'one quarantine, told once');
  stop();
});

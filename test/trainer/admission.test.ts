// What a trainer asks for while a crowd of keys announces groups that nobody will ever see.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createKeyPair } from '../../node/protocol/keys.ts';
import type { Admission } from '../../node/protocol/manifest.ts';
import type { ChainPolicy } from '../../node/protocol/ports.ts';
import { slotsWanted } from '../../node/rollout/worker.ts';
import type { Pool } from '../../trainer/pool.ts';
import { createPublication } from '../../trainer/publication.ts';
import type { RunState } from '../../trainer/run-state.ts';
import type { PolicyPublisher } from '../../trainer/trainer-ports.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { rootAt } from '../support/fixed-chain.ts';
import { memoryBlobs } from '../support/memory-store.ts';
import type { TrainerBench } from '../support/trainer-bench.ts';
import { bench, PEERS } from '../support/trainer-run.ts';
import { until } from '../support/until.ts';
import { testRecipe } from '../verifier/support/swarm.ts';

const CROWD = 64;
/** (maxLag 2 + 1) · 3 groups, all useful so far */
const WANTED = 9;

const policyAt = ({ disk }: TrainerBench, step: number): ChainPolicy => disk.chain.at(step)!;
const askedOf = (made: TrainerBench, step: number): number => slotsWanted(policyAt(made, step), 4_096);

async function crowd(made: TrainerBench, policyStep: number): Promise<void> {
  for (let i = 0; i < CROWD; i++) await made.announce({ peer: createKeyPair(), policyStep, slot: 0 });
}

/** A trainer that has made one step of three honest peers' groups, a crowd having announced for both of its policies. */
async function afterOneStep(t: TestContext, clock: ReturnType<typeof fakeClock>): Promise<TrainerBench> {
  const made = bench(t, { clock });
  await made.trainer.start();
  assert.deepEqual([askedOf(made, 0), policyAt(made, 0).activePeers], [3, 0], 'nobody is known: one batch of each');
  await crowd(made, 0);
  for (const peer of PEERS) await made.accepted({ peer, policyStep: 0, slot: 0 });
  void made.trainer.run();
  await until(() => made.disk.published.size === 2, 'the next policy is out');
  return made;
}

test('a crowd that only announces takes nothing away from what is asked of those who are known', async (t) => {
  const made = await afterOneStep(t, fakeClock());
  const { wantGroups, activePeers } = policyAt(made, 1);
  assert.deepEqual(
    { wantGroups, activePeers, askedOfEach: askedOf(made, 1) },
    { wantGroups: WANTED, activePeers: 3, askedOfEach: 3 },
  );
});

test('and does not make them work more when a batch does not fill', async (t) => {
  const clock = fakeClock();
  const made = await afterOneStep(t, clock);
  await crowd(made, 1);
  for (let slot = 0; slot < 40; slot++) await made.announce({ peer: PEERS[0]!, policyStep: 1, slot });
  for (let i = 0; i < 200 && made.announced.length === 0; i++) await clock.advance(500);
  // One peer announced 40 where it was asked for 3: three count as announced, and as waiting.
  assert.deepEqual(made.announced, [{ wantGroups: 3 + (WANTED - 3), closing: false }]);
});

test('while nobody brings anything the same is said again once a minute, and a change at once', async (t) => {
  const clock = fakeClock();
  const made = await afterOneStep(t, clock);
  const startMs = clock.nowMs();
  while (clock.nowMs() - startMs < 600_000) await clock.advance(500);
  const { length } = made.announced;
  assert.ok(length >= 9 && length <= 11, `${length} in ten minutes`);
  assert.ok(made.announced.every(({ wantGroups }) => wantGroups === WANTED));
  await made.accepted({ peer: PEERS[0]!, policyStep: 1, slot: 0, rewards: [0, 0, 0, 0] });
  for (let i = 0; i < 8; i++) await clock.advance(500);
  assert.equal(made.announced.length, length + 1);
  assert.notEqual(made.announced.at(-1)!.wantGroups, WANTED);
});

test('when most active peers are gone, those who still bring something are asked for all of it, once patience is over', async () => {
  const asked: Admission[] = [];
  let announcing = 1;
  const recipe = testRecipe();
  const publication = createPublication(
    {
      publisher: { announce: async ({ admission }) => void asked.push(admission!) } as PolicyPublisher,
      pool: {
        ...{ usefulShare: () => 1, waiting: () => 0, activePeers: () => 50, announcedAt: () => 3 },
        announcingPeers: () => announcing,
      } as unknown as Pool,
      ...{ blobs: memoryBlobs(), clock: fakeClock() },
    },
    { recipe },
  );
  const roots = { policyRoot: rootAt(1), parentRoot: rootAt(0) };
  const state: RunState = { trainStep: 1, policyStep: 1, ...roots, lastConsumed: [], consumed: [] };
  const { maxLagSteps } = recipe.recipe.staleness;
  const wantGroups = 3 + (maxLagSteps + 1) * recipe.recipe.grpo.promptsPerStep;
  await publication.askForMore(state, false);
  await publication.askForMore(state, true);
  announcing = 0;
  await publication.askForMore(state, true);
  assert.deepEqual(asked, [
    { wantGroups, activePeers: 50 },
    { wantGroups, activePeers: 1 },
    { wantGroups, activePeers: 50 },
  ]);
});

test('a peer that was found good once takes its own share away by announcing, and no other', async (t) => {
  const made = bench(t);
  await made.trainer.start();
  for (let slot = 1; slot < 100; slot++) await made.announce({ peer: PEERS[0]!, policyStep: 0, slot });
  for (const peer of PEERS) await made.accepted({ peer, policyStep: 0, slot: 0 });
  void made.trainer.run();
  await until(() => made.disk.published.size === 2, 'the next policy is out');
  const { wantGroups, activePeers } = policyAt(made, 1);
  assert.deepEqual({ wantGroups, activePeers }, { wantGroups: WANTED - WANTED / 3, activePeers: 3 });
});

test('after a restart those whose groups were trained on are known', async (t) => {
  const before = await afterOneStep(t, fakeClock());
  await before.trainer.stop();
  const made = bench(t, { disk: before.disk });
  await made.trainer.start();
  const { wantGroups, activePeers } = policyAt(made, 1);
  assert.deepEqual({ wantGroups, activePeers }, { wantGroups: WANTED, activePeers: 3 });
});

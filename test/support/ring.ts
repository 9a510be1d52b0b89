// The smallest swarm as processes: a trainer with its own verifier on a small recipe, and whoever joins it.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { askControl } from '../../node/cli/control.ts';
import type { MurmurLab, MurmurProcess } from './murmur-process.ts';

/**
 * Small groups, and few of them: a step never fills its batch, so one is made a second with what came, and the machine
 * rests between (tests run on two cores that others use too).
 */
export const TINY_RECIPE: string = `version: 1
name: tiny-arrows
tasks: [{ task: arrows@1, settings: { letters: 6, minHops: 3, maxHops: 5 } }]
rewards: [{ reward: exact@1 }]
groupSize: 4
sampling: { temperature: 1, maxNewTokens: 16, endTokens: [1] }
grpo: { learningRate: 1.0e-5, warmUpSteps: 1, promptsPerStep: 32, sequencesPerUpdate: 128, maxUpdatesPerStep: 1 }
staleness: { maxLagSteps: 4, keepPolicies: 5, maxStepWaitMs: 1000, maxSlotsPerStep: 6 }
`;

/** Flags of everybody in a ring of its own on this machine. */
export const RING_FLAGS: readonly string[] = ['--network', 'ring', '--loopback', '--threads', '1'];

/** A ring whose trainer listens. */
export interface Ring {
  readonly trainer: MurmurProcess;
  readonly trainerPeer: string;
  readonly recipeFile: string;
  /** flags with which others join */
  readonly joined: readonly string[];
  /** the trainer once more, on the same data and port, after it has ended */
  restartTrainer(): Promise<MurmurProcess>;
}

/** @param flags more flags for the trainer */
export async function startRing(lab: MurmurLab, flags: readonly string[] = []): Promise<Ring> {
  const recipeFile = join(lab.dir, 'recipe.yaml');
  await writeFile(recipeFile, TINY_RECIPE);
  const args = ['train', ...RING_FLAGS, '--recipe', recipeFile, '--eval-every', '0', ...flags];
  const trainer = lab.start('trainer', args);
  const { addresses, peerId } = await trainer.event('listening');
  const address = addresses[0]!;
  const port = /\/tcp\/(\d+)\/p2p/.exec(address)![1]!;
  return {
    trainer,
    trainerPeer: peerId,
    recipeFile,
    joined: [...RING_FLAGS, '--join', address],
    async restartTrainer() {
      const again = lab.start('trainer', [...args, '--port', port]);
      await again.event('listening');
      return again;
    },
  };
}

/** Asks a process through its control socket until the answer suits. */
export async function askUntil<T>(
  lab: MurmurLab,
  name: string,
  method: string,
  suits: (answer: T) => boolean,
  timeoutMs: number = 60_000,
): Promise<T> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const answer = await askControl(lab.dataDir(name), method, { limit: 100_000 });
    if (suits(answer as T)) return answer as T;
    assert.ok(Date.now() < until, `${name} ${method}: still ${JSON.stringify(answer)?.slice(0, 2_000)}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** A row of `murmur rollouts`. */
export interface RolloutRow {
  readonly groupId: string;
  readonly peer: string;
  readonly policyStep: number;
  readonly slot: number;
  readonly rewardMean: number;
  readonly verdict: string;
}

/** Each peer's slots at each policy step are 0, 1, 2, … without a hole or a second use. */
export function assertSlotsWithoutGap(rows: readonly RolloutRow[]): void {
  const slots = new Map<string, number[]>();
  for (const { peer, policyStep, slot } of rows) {
    const key = `${peer} at step ${policyStep}`;
    slots.set(key, [...(slots.get(key) ?? []), slot]);
  }
  for (const [key, found] of slots) {
    found.sort((a, b) => a - b);
    assert.deepEqual(
      found,
      found.map((_, i) => i),
      key,
    );
  }
}

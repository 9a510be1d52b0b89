// Two recipes in one network, one verifier process on both: announcements, chains, verdicts and ledgers stay apart, though
// both begin with the very same weights (one root).

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { GroupCounts } from '../../node/cli/events.ts';
import { assertAddsUp } from '../support/adds-up.ts';
import { type MurmurLab, murmurLab } from '../support/murmur-process.ts';
import { askUntil, assertSlotsWithoutGap, RING_FLAGS, type RolloutRow, TINY_RECIPE } from '../support/ring.ts';

/** Of the same family: the starter knows nothing else, and who never earns a reward learns nothing. */
const SHORT_RECIPE = TINY_RECIPE.replace('tiny-arrows', 'tiny-short').replace('maxHops: 5', 'maxHops: 4');

interface Weights {
  readonly recipe: string;
  readonly policyStep: number;
  readonly policyRoot: string;
  readonly by: string;
}

interface VerifierStatus {
  readonly recipes: readonly { readonly recipe: string; readonly recipeId: string; readonly readyStep: number }[];
  readonly verifier: readonly { readonly recipeId: string; readonly accepted: number }[];
}

/** A trainer on a recipe of its own, and a node that works for it alone. */
async function startHalf(lab: MurmurLab, name: string, recipe: string, joined: readonly string[] = []) {
  const file = join(lab.dir, `${name}.yaml`);
  await writeFile(file, recipe);
  const train = ['train', ...RING_FLAGS, '--recipe', file, '--eval-every', '0', ...joined];
  const trainer = lab.start(`trainer-${name}`, train);
  const { addresses, peerId: trainerPeer } = await trainer.event('listening');
  const { recipeId } = await trainer.event('recipe');
  const node = lab.start(`node-${name}`, ['node', ...RING_FLAGS, '--join', addresses[0]!, '--recipe', recipeId]);
  const { peerId: nodePeer } = await node.event('listening');
  return { name, trainer, trainerPeer, node, nodePeer, recipeId, join: ['--join', addresses[0]!] };
}

test('two recipes in one network stay apart, also within one process', { timeout: 300_000 }, async (t) => {
  const lab = await murmurLab(t);
  const arrows = await startHalf(lab, 'arrows', TINY_RECIPE);
  const short = await startHalf(lab, 'short', SHORT_RECIPE, arrows.join);
  const halves = [arrows, short];
  assert.notEqual(arrows.recipeId, short.recipeId);
  const verifier = lab.start('verifier', ['verify', ...RING_FLAGS, ...arrows.join]);
  const look = (command: string, ...more: string[]): Promise<unknown> =>
    lab.ask([command, ...more, '--data-dir', lab.dataDir('verifier')]);

  await t.test('one verifier judges both, each under its own chain', async () => {
    for (const { trainer } of halves) await trainer.event('step', (step) => step.policyStep >= 2);
    const status = await askUntil<VerifierStatus>(
      lab,
      'verifier',
      'status',
      (s) => s.verifier.length === 2 && s.verifier.every((each) => each.accepted >= 2),
    );
    assert.deepEqual(status.recipes.map((row) => row.recipeId).sort(), halves.map((half) => half.recipeId).sort());
    assert.deepEqual(status.verifier.map((row) => row.recipeId).sort(), halves.map((half) => half.recipeId).sort());
  });

  await t.test('rollouts, verdicts and weights of one are none of the other', async () => {
    for (const { name, recipeId, nodePeer, trainerPeer } of halves) {
      const rollouts = (await look('rollouts', '--recipe', recipeId, '--limit', '100000')) as readonly RolloutRow[];
      assert.ok(rollouts.length > 0 && rollouts.every((row) => row.peer === nodePeer), name);
      assertSlotsWithoutGap(rollouts);
      const verdicts = (await look('verdicts', '--recipe', recipeId, '--limit', '100000')) as readonly {
        readonly peer: string;
        readonly answer: string;
      }[];
      assert.ok(
        verdicts.some((row) => row.answer === 'accept'),
        name,
      );
      assert.ok(
        verdicts.every((row) => row.peer === nodePeer && row.answer !== 'reject'),
        name,
      );
      const weights = (await look('weights', '--recipe', recipeId)) as readonly Weights[];
      assert.ok(weights.length > 0 && weights.every((row) => row.recipe === `tiny-${name}` && row.by === trainerPeer));
    }
    const roots = async (recipeId: string): Promise<readonly string[]> =>
      ((await look('weights', '--recipe', recipeId, '--limit', '1000')) as readonly Weights[])
        .filter((row) => row.policyStep > 0)
        .map((row) => row.policyRoot);
    const [one, other] = [await roots(arrows.recipeId), await roots(short.recipeId)];
    assert.deepEqual(
      one.filter((root) => other.includes(root)),
      [],
    );
  });

  await t.test('each trainer counts the groups of its own recipe, once', async () => {
    for (const process of [...halves.map((half) => half.node), verifier]) await process.interrupt();
    for (const { trainer, name, recipeId } of halves) {
      await trainer.interrupt();
      const { counts } = await trainer.event('summary');
      assertAddsUp(counts);
      assert.ok(counts.trained >= 2 && counts.rejected === 0, JSON.stringify(counts));
      const own = { dir: lab.dataDir(`trainer-${name}`) };
      const { training } = (await lab.ask(['status', '--data-dir', own.dir])) as { training: { groups: GroupCounts } };
      assert.deepEqual(training.groups, counts);
      const known = (await lab.ask([
        'rollouts',
        '--recipe',
        recipeId,
        '--limit',
        '100000',
        '--data-dir',
        own.dir,
      ])) as unknown[];
      assert.equal(counts.announced, known.length);
    }
  });
});

// A liar ends completions where it likes: before the end token, behind it, or never, and pads what should be short.

import assert from 'node:assert/strict';
import { type MadeGroup, withSequence } from '../verifier/support/swarm.ts';
import { attack, forge, type Scene } from './support.ts';

const END = 1;

/** The first sequence with other tokens and ending, all else consistent. */
function ending(
  scene: Scene,
  change: (tokens: readonly number[]) => { readonly tokens: readonly number[]; readonly finish: 'eos' | 'length' },
): MadeGroup {
  const replace = withSequence(0, (each) => {
    const { tokens, finish } = change([...each.tokens]);
    return { ...each, tokens: Uint32Array.from(tokens), finish };
  });
  return scene.lie(0, { body: (body) => forge(scene.context)(replace(body)) });
}

const maxNewTokens = (scene: Scene): number => scene.context.recipe.recipe.sampling.maxNewTokens;
const until = (tokens: readonly number[]): readonly number[] => tokens.filter((token) => token !== END);

attack('stops early without an end token', async (scene) => {
  const group = ending(scene, (tokens) => ({ tokens: tokens.slice(0, 3).map((each) => each + 2), finish: 'length' }));
  assert.deepEqual(await scene.judge(group), ['reject FINISH_REASON']);
  assert.ok(scene.isQuarantined());
});

attack('runs on past the end token', async (scene) => {
  const group = ending(scene, (tokens) => ({ tokens: [...until(tokens), END, 7, 7, END].slice(-9), finish: 'eos' }));
  assert.deepEqual(await scene.judge(group), ['reject FINISH_REASON']);
});

attack('says that it ended when it did not', async (scene) => {
  const tokens = Array.from({ length: maxNewTokens(scene) }, () => 5);
  assert.deepEqual(await scene.judge(ending(scene, () => ({ tokens, finish: 'eos' }))), ['reject FINISH_REASON']);
});

attack('says that it ran out when it ended', async (scene) => {
  const group = ending(scene, (tokens) => ({ tokens: [...until(tokens), END].slice(-4), finish: 'length' }));
  assert.deepEqual(await scene.judge(group), ['reject FINISH_REASON']);
});

attack('padding to the full length instead of the end token that was drawn', async (scene) => {
  const pad = (tokens: readonly number[]): readonly number[] =>
    Array.from({ length: maxNewTokens(scene) }, (_, t) => until(tokens)[t] ?? 5);
  const group = ending(scene, (tokens) => ({ tokens: pad(tokens), finish: 'length' }));
  assert.deepEqual(
    await scene.judge(group),
    ['reject REPLAY_MISMATCH'],
    'an end token passed over is a draw like any other',
  );
});

attack('more tokens than the recipe allows', async (scene) => {
  const tokens = Array.from({ length: maxNewTokens(scene) + 1 }, () => 5);
  const group = ending(scene, () => ({ tokens, finish: 'length' }));
  assert.deepEqual(await scene.judge(group), [null], 'does not pass stage 0');
  assert.equal(scene.inbox.ignoredCounts()['SIZE_MISMATCH'], 1);
});

attack('longer than announced', async (scene) => {
  const group = scene.lie(0, { announcement: (each) => ({ ...each, lengths: each.lengths.with(0, 1) }) });
  assert.deepEqual(await scene.judge(group), ['reject SIZE_MISMATCH']);
});

attack('tokens that have no text', async (scene) => {
  const group = scene.lie(0, {
    body: withSequence(0, (each) => ({ ...each, tokens: each.tokens.with(0, 4_000_000) })),
    announcement: (each) => each,
  });
  assert.deepEqual(await scene.judge(group), ['reject TOKEN_OUT_OF_RANGE']);
});

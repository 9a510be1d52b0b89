// A liar writes a better answer over what was drawn, or its own thoughts into a right one, and keeps the rest consistent:
// ends, lengths, rewards, true log-probs and proofs. Source of the latter: "Hail to the Thief", arXiv 2511.09780.

import assert from 'node:assert/strict';
import { withSequence } from '../verifier/support/swarm.ts';
import { attack, forge, type Scene } from './support.ts';

const END = 1;

/** A group whose first sequence is `tokens`. */
function written(scene: Scene, tokens: readonly number[]): ReturnType<Scene['lie']> {
  const finish = tokens.at(-1) === END ? ('eos' as const) : ('length' as const);
  const replace = withSequence(0, (each) => ({ ...each, tokens: Uint32Array.from(tokens), finish }));
  return scene.lie(0, { body: (body) => forge(scene.context)(replace(body)) });
}

/** Tokens of the right answer to what the liar is asked at slot 0, behind `thoughts`. */
function rightAnswer(scene: Scene, thoughts: string): readonly number[] {
  const { recipe, tokenizer } = scene.context;
  const { problem } = recipe.problemFor(scene.seedOf(0));
  return [...tokenizer.encode(thoughts + problem.answer, { addSpecialTokens: false }), END];
}

attack('a right answer written by hand is not what the uniforms draw', async (scene) => {
  const group = written(scene, rightAnswer(scene, ''));
  assert.equal(group.announcement.rewards[0], 1_000_000, 'the lie pays');
  assert.deepEqual(await scene.judge(group), ['reject REPLAY_MISMATCH']);
});

attack('poison inside a right completion: the reward is due, the text was never drawn', async (scene) => {
  const group = written(scene, rightAnswer(scene, '<f9>'));
  assert.equal(group.announcement.rewards[0], 1_000_000);
  assert.deepEqual(await scene.judge(group), ['reject REPLAY_MISMATCH']);
});

attack('one token edited', async (scene) => {
  const [first] = scene.lie(0, {}).body.sequences;
  const middle = first!.tokens.length >> 1;
  assert.ok(middle > 0 && first!.finish === 'eos', 'there is a token to edit before the end');
  const tokens = first!.tokens.with(middle, first!.tokens[middle] === 5 ? 6 : 5);
  const group = written(scene, [...tokens]);
  assert.deepEqual(await scene.judge(group), ['reject REPLAY_MISMATCH']);
  assert.ok(scene.verdictsOn(group)[0]!.evidence!.position! >= middle, 'what came before was drawn');
});

attack('an end token put early is a token like any other', async (scene) => {
  assert.deepEqual(await scene.judge(written(scene, [END])), ['reject REPLAY_MISMATCH']);
});

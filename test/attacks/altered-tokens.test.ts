// A liar writes a better answer over what was drawn, and keeps the rest consistent: ends, lengths, rewards, proofs of the true states.

import assert from 'node:assert/strict';
import { samplingOf } from '../../verifier/checks/subject.ts';
import { proveCompletion } from '../../verifier/toploc/completion.ts';
import { HIDDEN_SIZE, scriptedPolicy } from '../verifier/support/scripted-policy.ts';
import { rootOf } from '../verifier/support/swarm.ts';
import { attack, type Scene } from './support.ts';

/** Replaces a sequence by `tokens`, with log-probs and proofs as the true policy gives them. */
function written(scene: Scene, tokens: readonly number[]): ReturnType<Scene['lie']> {
  const truth = scriptedPolicy(rootOf(0));
  return scene.lie(0, {
    body: (body) => {
      const list = Uint32Array.from(tokens);
      const { logprobs, hidden } = truth.replay(body.prompt, list, samplingOf(scene.context));
      const sequence = { tokens: list, logprobs, finish: 'eos' as const, proofs: proveCompletion(hidden, HIDDEN_SIZE) };
      return { ...body, sequences: [sequence, ...body.sequences.slice(1)] };
    },
  });
}

attack('a right answer written by hand is not what the uniforms draw', async (scene) => {
  const { problem } = scene.context.recipe.problemFor(new Uint8Array(32));
  const answer = scene.context.tokenizer.encode(problem.answer, { addSpecialTokens: false });
  assert.deepEqual(await scene.judge(written(scene, [...answer, 1])), ['reject REPLAY_MISMATCH']);
});

attack('an end token put early is a token like any other', async (scene) => {
  assert.deepEqual(await scene.judge(written(scene, [1])), ['reject REPLAY_MISMATCH']);
});

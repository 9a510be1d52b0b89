// A liar samples honestly, but from other random numbers than the ones it was given: its own, or the luckier of two lots.
// Log-probs, proofs and rewards are true; every token is one that the policy might have said.

import assert from 'node:assert/strict';
import { sha256 } from '../../node/protocol/bytes.ts';
import type { GeneratedSequence } from '../../node/protocol/ports.ts';
import { sequenceSeed } from '../../node/protocol/seeds.ts';
import { samplingOf } from '../../verifier/checks/subject.ts';
import { type ScriptedPolicy, scriptedPolicy } from '../verifier/support/scripted-policy.ts';
import { rootOf } from '../verifier/support/swarm.ts';
import { attack } from './support.ts';

const truth = scriptedPolicy(rootOf(0));
type Generate = ScriptedPolicy['generate'];

const lying = (generate: Generate): ScriptedPolicy => ({ ...truth, generate });

attack('random numbers of its own', async (scene) => {
  const policy = lying((prompt, seed, sampling) => truth.generate(prompt, sha256(seed, 'mine'), sampling));
  assert.deepEqual(await scene.judge(scene.lie(0, { policy }), scene.lie(1, { policy })), [
    'reject REPLAY_MISMATCH',
    'reject REPLAY_MISMATCH',
  ]);
  assert.ok(scene.isQuarantined());
});

attack("the better of two tries: one of them is nobody's to make", async (scene) => {
  const generate: Generate = (prompt, seed, sampling) => {
    const tries = [seed, sha256(seed, 'again')].map((each) => truth.generate(prompt, each, sampling));
    const luck = (sequence: GeneratedSequence): number => -sequence.tokens.length;
    return luck(tries[1]!) > luck(tries[0]!) ? tries[1]! : tries[0]!;
  };
  const groups = Array.from({ length: 4 }, (_, slot) => scene.lie(slot, { policy: lying(generate) }));
  const verdicts = await scene.judge(...groups);
  // A group in which all four first tries were the better ones (1 of 16) is true.
  assert.equal(verdicts.filter((each) => each === 'reject REPLAY_MISMATCH').length, 2);
  assert.ok(scene.isQuarantined());
});

attack('the best sequence in every place of the group', async (scene) => {
  const { problem } = scene.context.recipe.problemFor(scene.seedOf(0));
  const prompt = Uint32Array.from(scene.context.tokenizer.encode(problem.prompt, { addSpecialTokens: true }));
  const best = truth.generate(prompt, sequenceSeed(scene.seedOf(0), 0), samplingOf(scene.context));
  assert.deepEqual(await scene.judge(scene.lie(0, { policy: lying(() => best) })), ['reject REPLAY_MISMATCH']);
});

attack('the right sequences in another order', async (scene) => {
  const group = scene.lie(0, { body: (body) => ({ ...body, sequences: body.sequences.toReversed() }) });
  assert.deepEqual(await scene.judge(group), ['reject REPLAY_MISMATCH']);
});

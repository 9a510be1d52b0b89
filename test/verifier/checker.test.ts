// Stage 2 in its thread: the same verdicts as here, up to the first rejection, and states that move.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createReplayChecker } from '../../verifier/checker.ts';
import { judgeReplays } from '../../verifier/checks/stage-two.ts';
import { type ReplaySubject, replaySubject, samplingOf } from '../../verifier/checks/subject.ts';
import { startVerifier } from './support/running.ts';
import { scriptedPolicy } from './support/scripted-policy.ts';
import { type Alteration, makeGroup, newPeer, rootOf, testContext } from './support/swarm.ts';

const context = testContext();
const peer = newPeer();

function subjectsOf(slot: number, alteration: Alteration = {}): readonly ReplaySubject[] {
  const { announcement, body } = makeGroup(context, peer, slot, 0, alteration);
  const policy = scriptedPolicy(rootOf(0));
  return body.sequences.map(({ tokens }, i) =>
    replaySubject(context, announcement, body, i, policy.replay(body.prompt, tokens, samplingOf(context))),
  );
}

test('the thread says what this thread says, and stops at the first rejection', async () => {
  const checker = createReplayChecker();
  for (let slot = 0; slot < 4; slot++) {
    const honest = subjectsOf(slot);
    const due = judgeReplays(honest);
    assert.deepEqual([due.length, due.every(({ answer }) => answer === 'accept')], [honest.length, true]);
    assert.deepEqual(await checker.check(honest), due);
    const lie = subjectsOf(slot).map((subject, i) =>
      i === 1
        ? { ...subject, rollout: { ...subject.rollout, logprobs: subject.rollout.logprobs.map(() => -3) } }
        : subject,
    );
    const judged = judgeReplays(lie);
    assert.deepEqual([judged.length, judged[1]!.answer], [2, 'reject']);
    assert.deepEqual(await checker.check(lie), judged);
  }
  await checker.close();
  await assert.rejects(checker.check(subjectsOf(0)), { code: 'ENGINE_CLOSED' });
});

test('hidden states move, tokens and log-probs stay', async () => {
  const checker = createReplayChecker();
  const [subject] = subjectsOf(0).filter(({ replayed }) => replayed.hidden.length > 0);
  const before = subject!.replayed.logprobs.slice();
  await checker.check([subject!]);
  assert.equal(subject!.replayed.hidden.length, 0);
  assert.deepEqual(subject!.replayed.logprobs, before);
  assert.ok(subject!.rollout.tokens.length > 0 && subject!.rollout.proofs.length > 0);
  await checker.close();
});

test('a checker that has died is trouble of our own: nobody is rejected', async () => {
  const dead = createReplayChecker();
  await dead.close();
  const running = await startVerifier({ context, checker: dead });
  const group = makeGroup(context, newPeer(), 0);
  await running.announce(group);
  for (let i = 0; i < 4; i++) await running.settle(1_000);
  assert.equal(running.verdictOn(group), 'ignore INTERNAL');
  await running.stop();
});

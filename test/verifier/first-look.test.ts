// The first look at a suspect's group: what it finds, what it leaves to the whole replay, who is looked at, what it saves.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACCEPT, reject } from '../../node/protocol/check.ts';
import type { KeyPair } from '../../node/protocol/keys.ts';
import { limitsOf, samplingOf } from '../../verifier/checks/subject.ts';
import { createSuspicion, judgeLook, LOOK_TOKENS, lookRequest } from '../../verifier/first-look.ts';
import { type Job, jobOf } from '../../verifier/job.ts';
import { startVerifier } from './support/running.ts';
import { scriptedPolicy } from './support/scripted-policy.ts';
import { type Alteration, makeGroup, newPeer, rootOf, testContext, testRecipe, withSequence } from './support/swarm.ts';

// Long completions, so that a look is a part of one.
const LONG = { sampling: { temperature: 1, maxNewTokens: 40, endTokens: [1] } };
const context = testContext(testRecipe({}, LONG));
const garbage: Alteration = { policy: scriptedPolicy('garbage') };

/** A group whose secret sequence is longer than a look. */
function jobWith(alteration: Alteration): Job {
  const peer = newPeer();
  for (let slot = 0; ; slot++) {
    const { message, body } = makeGroup(context, peer, slot, 0, alteration);
    const sequence = body.sequences.findIndex(({ tokens }) => tokens.length > LOOK_TOKENS + 4);
    if (sequence >= 0) return { ...jobOf(message, 0, 0), body, sequence, isWhole: true };
  }
}

function look(job: Job): ReturnType<typeof judgeLook> {
  const { prompt, tokens } = lookRequest(job);
  assert.ok(tokens.length <= LOOK_TOKENS);
  return judgeLook(
    context,
    job,
    scriptedPolicy(rootOf(0)).replay(prompt, tokens, samplingOf(context)),
    limitsOf(context.recipe),
  );
}

test('a look rejects what it sees, with the evidence of the whole replay, and nothing else', () => {
  assert.equal(look(jobWith({})).answer, 'accept');
  const answer = look(jobWith(garbage));
  assert.ok(answer.answer === 'reject' && ['REPLAY_MISMATCH', 'LOGPROB_DRIFT'].includes(answer.code));
  const shifted = (from: number, by: number): Job => {
    const job = jobWith({});
    const body = withSequence(job.sequence, (sequence) => ({
      ...sequence,
      logprobs: sequence.logprobs.map((value, t) => (t >= from ? value - by : value)),
    }))(job.body!);
    return { ...job, body };
  };
  const { maxLogprobDrift, maxMeanLogprobDrift } = limitsOf(context.recipe);
  const drifted = shifted(3, 3 * maxLogprobDrift);
  const found = look(drifted);
  assert.ok(found.answer === 'reject' && found.code === 'LOGPROB_DRIFT');
  assert.equal(found.evidence!.sequence, drifted.sequence);
  assert.equal(look(shifted(LOOK_TOKENS, 3 * maxLogprobDrift)).answer, 'accept', 'what comes later is not looked at');
  assert.equal(look(shifted(0, 4 * maxMeanLogprobDrift)).answer, 'accept', 'a mean is not judged by a part');
});

test('who is looked at: those caught before, and all newcomers while many of theirs are rejected', () => {
  const job = (peer: string, isWhole = true): Job => ({ ...jobWith({}), peer, isWhole });
  const suspicion = createSuspicion({
    isNewcomer: (peer) => peer !== 'established',
    wasCaught: (peer) => peer === 'caught',
  });
  const looked = (): boolean[] => ['established', 'new', 'caught'].map((peer) => suspicion.isWorthALook(job(peer)));
  assert.deepEqual(looked(), [false, false, true]);
  assert.equal(suspicion.isWorthALook(job('caught', false)), false, 'one sequence costs little more than a look');
  for (let i = 0; i < 16; i++) suspicion.judged('new', reject('REPLAY_MISMATCH'));
  assert.deepEqual(looked(), [false, true, true]);
  for (let i = 0; i < 200; i++) suspicion.judged('established', ACCEPT);
  assert.deepEqual(looked(), [false, true, true], 'accepted groups of others say nothing of newcomers');
  for (let i = 0; i < 64; i++) suspicion.judged('new', ACCEPT);
  assert.deepEqual(looked(), [false, false, true]);
});

/** Tokens that a verifier replays of groups announced one after another, and the verdicts. */
async function replayedTokens(
  peers: readonly KeyPair[],
  alteration: Alteration,
): Promise<readonly [number, (string | null)[]]> {
  const running = await startVerifier({ context });
  try {
    const groups = peers.map((peer) => makeGroup(context, peer, 0, 0, alteration));
    for (const group of groups) {
      await running.announce(group);
      await running.settle();
    }
    return [running.verifier.stats().tokensReplayed, groups.map(running.verdictOn)];
  } finally {
    await running.stop();
  }
}

test('a crowd of liars is worth a fraction of its replays once it is known for one; honest newcomers cost nothing more', async () => {
  const peers = Array.from({ length: 40 }, newPeer);
  const whole = (alteration: Alteration): number =>
    peers
      .map((peer) => makeGroup(context, peer, 0, 0, alteration))
      .reduce(
        (sum, { body }) => sum + body.sequences.reduce((n, { tokens }) => n + body.prompt.length + tokens.length, 0),
        0,
      );
  const [honest, accepted] = await replayedTokens(peers, {});
  assert.deepEqual(new Set(accepted), new Set(['accept']));
  assert.equal(honest, whole({}));
  const [lies, rejected] = await replayedTokens(peers, garbage);
  assert.ok(rejected.every((verdict) => verdict!.startsWith('reject ')));
  // The first ten or so are replayed whole; then a look at one of four sequences does.
  assert.ok(lies < 0.6 * whole(garbage), `${lies} of ${whole(garbage)}`);
});

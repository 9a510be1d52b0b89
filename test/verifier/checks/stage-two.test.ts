// Stage 2: draws, log-probs and activations beside a replay, on both sides of every limit.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReplayedSequence } from '../../../node/protocol/ports.ts';
import { groupSeed, sequenceSeed, uniforms } from '../../../node/protocol/seeds.ts';
import { judgeReplay, type ReplayVerdict } from '../../../verifier/checks/stage-two.ts';
import { limitsOf, replaySubject, samplingOf } from '../../../verifier/checks/subject.ts';
import { REJECT_FACTOR } from '../../../verifier/checks/two-sided.ts';
import { scriptedPolicy } from '../support/scripted-policy.ts';
import {
  type Alteration,
  type MadeGroup,
  makeGroup,
  newPeer,
  rootOf,
  testContext,
  withSequence,
} from '../support/swarm.ts';

const context = testContext();
const limits = limitsOf(context.recipe);
const peer = newPeer();

function replayOf({ body }: MadeGroup, sequence: number, drift = 0): ReplayedSequence {
  const policy = scriptedPolicy(rootOf(0), drift);
  return policy.replay(body.prompt, body.sequences[sequence]!.tokens, samplingOf(context));
}

function judge(
  made: MadeGroup,
  sequence: number,
  replayed: ReplayedSequence = replayOf(made, sequence),
): ReplayVerdict {
  return judgeReplay(replaySubject(context, made.announcement, made.body, sequence, replayed));
}

function codeOf(verdict: ReplayVerdict): string {
  return verdict.answer === 'accept' ? 'accept' : `${verdict.answer} ${verdict.code}`;
}

/** Codes of all sequences of some groups. */
function codesOf(alteration: Alteration, groups = 6): string[] {
  return Array.from({ length: groups }, (_, slot) => makeGroup(context, peer, slot, 0, alteration)).flatMap((made) =>
    made.body.sequences.map((_, i) => codeOf(judge(made, i))),
  );
}

test('honest sequences pass without a soft miss', () => {
  for (let slot = 0; slot < 6; slot++) {
    const made = makeGroup(context, peer, slot);
    made.body.sequences.forEach(({ tokens }, i) => {
      const verdict = judge(made, i);
      assert.deepEqual(verdict, { answer: 'accept', softMisses: 0, tokens: tokens.length });
    });
  }
});

test('another policy is caught in every sequence but the luckiest', () => {
  const codes = codesOf({ policy: scriptedPolicy('other weights') });
  assert.ok(
    codes.every((code) => code.startsWith('reject ')),
    codes.join(),
  );
  assert.ok(codes.includes('reject REPLAY_MISMATCH'));
});

test('one edited token: REPLAY_MISMATCH with the numbers that repeat it', () => {
  const made = makeGroup(context, peer, 1, 0, {
    body: withSequence(2, (each) => ({ ...each, tokens: each.tokens.with(0, each.tokens[0] === 7 ? 8 : 7) })),
  });
  const verdict = judge(made, 2);
  assert.ok(verdict.answer === 'reject');
  assert.equal(verdict.code, 'REPLAY_MISMATCH');
  const { sequence, position, u, x, y } = verdict.evidence!;
  assert.deepEqual([sequence, position], [2, 0]);
  assert.equal(u, uniforms(sequenceSeed(groupSeed(made.announcement), 2), 1)[0]);
  assert.ok(u! < x! || u! >= y!);
});

test('a draw just outside its interval: soft within δ, ignored within 2δ, rejected beyond', () => {
  const made = makeGroup(context, peer, 0);
  const replayed = replayOf(made, 0);
  const u = uniforms(sequenceSeed(groupSeed(made.announcement), 0), 1)[0]!;
  /** the interval moved so that u lies below it by this many nats of odds */
  const shifted = (nats: number): ReplayedSequence => {
    const odds = (u / (1 - u)) * Math.exp(2 * nats);
    return { ...replayed, below: replayed.below.with(0, odds / (1 + odds)), upTo: replayed.upTo.with(0, 1) };
  };
  assert.deepEqual([codeOf(judge(made, 0, shifted(0))), judge(made, 0, shifted(0)).softMisses], ['accept', 0]);
  const soft = judge(made, 0, shifted(0.9 * limits.delta));
  assert.deepEqual([codeOf(soft), soft.softMisses], ['accept', 1]);
  assert.equal(codeOf(judge(made, 0, shifted(1.5 * limits.delta))), 'ignore BORDERLINE');
  assert.equal(codeOf(judge(made, 0, shifted((REJECT_FACTOR + 0.1) * limits.delta))), 'reject REPLAY_MISMATCH');
});

test('a token that a cut took passes under the other cut only', () => {
  const made = makeGroup(context, peer, 0);
  const replayed = replayOf(made, 0);
  const cut = { ...replayed, below: replayed.below.with(0, 0.5), upTo: replayed.upTo.with(0, 0.5) };
  assert.equal(codeOf(judge(made, 0, cut)), 'reject REPLAY_MISMATCH');
  const other = { position: 0, below: replayed.below[0]!, upTo: replayed.upTo[0]! };
  const verdict = judge(made, 0, { ...cut, alternatives: [other] });
  assert.deepEqual([codeOf(verdict), verdict.softMisses], ['accept', 1]);
  assert.equal(codeOf(judge(made, 0, { ...cut, alternatives: [{ ...other, position: 1 }] })), 'reject REPLAY_MISMATCH');
});

test('log-probs of another policy: LOGPROB_DRIFT, by the largest and by the mean', () => {
  const made = makeGroup(context, peer, 0);
  const replayed = replayOf(made, 1);
  const moved = (position: number | null, by: number): ReplayVerdict =>
    judge(made, 1, {
      ...replayed,
      logprobs: replayed.logprobs.map((value, t) => (position === null || t === position ? value + by : value)),
    });
  const { maxLogprobDrift, maxMeanLogprobDrift } = limits;
  const n = replayed.logprobs.length;
  assert.equal(codeOf(moved(null, 0.9 * maxMeanLogprobDrift)), 'accept');
  assert.equal(codeOf(moved(null, 1.5 * maxMeanLogprobDrift)), 'ignore BORDERLINE');
  assert.equal(codeOf(moved(null, 2.5 * maxMeanLogprobDrift)), 'reject LOGPROB_DRIFT');
  const single = moved(0, 3 * maxLogprobDrift);
  assert.ok(single.answer === 'reject' && single.evidence!.position === 0);
  assert.equal(single.evidence!.limit, maxLogprobDrift);
  // One token within its limit moves the mean of n tokens by its share only.
  assert.equal(codeOf(moved(0, Math.min(0.9 * maxLogprobDrift, 0.9 * n * maxMeanLogprobDrift))), 'accept');
});

test('a forger with true log-probs but states of other weights: TOPLOC_MISMATCH', () => {
  const made = makeGroup(context, peer, 0);
  const index = made.body.sequences.findIndex(({ tokens }) => tokens.length > 4);
  const replayed = replayOf(made, index);
  const other = scriptedPolicy('other').replay(
    made.body.prompt,
    made.body.sequences[index]!.tokens,
    samplingOf(context),
  );
  const verdict = judge(made, index, { ...replayed, hidden: other.hidden });
  assert.equal(codeOf(verdict), 'reject TOPLOC_MISMATCH');
  assert.ok(verdict.answer === 'reject' && verdict.evidence!.measured! > 2 * verdict.evidence!.limit!);
});

test('a replay that is not usable is our own trouble', () => {
  const made = makeGroup(context, peer, 0);
  const index = made.body.sequences.findIndex(({ tokens }) => tokens.length > 1);
  const replayed = replayOf(made, index);
  const broken: ReplayedSequence[] = [
    { ...replayed, logprobs: replayed.logprobs.with(0, Number.NaN) },
    { ...replayed, below: replayed.below.with(0, Number.NaN) },
    { ...replayed, upTo: replayed.upTo.subarray(1) },
    { ...replayed, hidden: replayed.hidden.subarray(1) },
    { ...replayed, hidden: replayed.hidden.with(0, 0x7fc0) },
  ];
  for (const each of broken) assert.equal(codeOf(judge(made, index, each)), 'ignore INTERNAL');
});

test('rounding of another device passes, a wrong temperature does not', () => {
  const made = makeGroup(context, peer, 0);
  made.body.sequences.forEach((_, i) => {
    assert.equal(codeOf(judge(made, i, replayOf(made, i, 1e-6))), 'accept');
  });
  const { replay } = scriptedPolicy(rootOf(0));
  const hot = { ...samplingOf(context), temperature: 1.1 };
  const codes = made.body.sequences.map(({ tokens }, i) =>
    codeOf(judge(made, i, replay(made.body.prompt, tokens, hot))),
  );
  assert.ok(
    codes.every((code) => code.startsWith('reject ')),
    codes.join(),
  );
});

// Stage 1, each check with what passes and what it is there to catch.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GroupBody } from '../../../node/protocol/body.ts';
import { sha256 } from '../../../node/protocol/bytes.ts';
import type { CheckAnswer } from '../../../node/protocol/check.ts';
import { groupSeed } from '../../../node/protocol/seeds.ts';
import { checkBody, STAGE_ONE } from '../../../verifier/checks/stage-one.ts';
import type { CheckCost } from '../../../verifier/checks/subject.ts';
import { judgeBody } from '../support/judge-body.ts';
import { type Alteration, makeGroup, newPeer, testContext, testRecipe, withSequence } from '../support/swarm.ts';

const context = testContext();
const peer = newPeer();

function answerTo(alteration: Alteration, slot = 0): CheckAnswer {
  const { announcement, body } = makeGroup(context, peer, slot, 0, alteration);
  return checkBody(context, announcement, body);
}

function assertRejected(alteration: Alteration, code: string, evidence: object): void {
  const answer = answerTo(alteration);
  assert.equal(answer.answer, 'reject');
  assert.ok(answer.answer === 'reject');
  assert.equal(answer.code, code);
  for (const [name, value] of Object.entries(evidence)) {
    assert.deepEqual(answer.evidence?.[name as 'sequence'], value, name);
  }
}

test('honest groups pass', () => {
  for (let slot = 0; slot < 10; slot++) assert.deepEqual(answerTo({}, slot), { answer: 'accept' });
});

test('checks run cheap first', () => {
  const order: readonly CheckCost[] = ['constant', 'tokens', 'text', 'model'];
  const costs = STAGE_ONE.map((check) => order.indexOf(check.cost));
  assert.deepEqual(costs, costs.toSorted());
});

test('a body of other sizes than announced: SIZE_MISMATCH', () => {
  const shorter = (body: GroupBody): GroupBody => ({ ...body, sequences: body.sequences.slice(1) });
  assertRejected({ body: shorter }, 'SIZE_MISMATCH', { measured: 3, limit: 4 });
  const announcement: Alteration['announcement'] = (each) => ({
    ...each,
    lengths: each.lengths.map((length, i) => (i === 2 ? length + 1 : length)),
  });
  assertRejected({ announcement }, 'SIZE_MISMATCH', { sequence: 2 });
});

test('a chat: its examples belong to the prompt, and whoever leaves them out or asks others is found', () => {
  const recipe = testRecipe({}, { tasks: [{ task: 'sums@1', chat: { examples: 2 } }] });
  const chat = { ...context, recipe };
  for (let slot = 0; slot < 4; slot++) {
    const { announcement, body } = makeGroup(chat, peer, slot);
    assert.deepEqual(checkBody(chat, announcement, body), { answer: 'accept' });
    const { prompt } = recipe.problemFor(groupSeed(announcement)).problem;
    const question = Uint32Array.from(context.tokenizer.encode(prompt, { addSpecialTokens: false }));
    assert.ok(body.prompt.length > question.length);
    const other = makeGroup(chat, peer, slot + 1).body.prompt;
    for (const lie of [question, other]) {
      const lied = makeGroup(chat, peer, slot, 0, { body: (own) => ({ ...own, prompt: lie }) });
      const answer = checkBody(chat, lied.announcement, lied.body);
      assert.ok(answer.answer === 'reject' && answer.code === 'PROMPT_MISMATCH', JSON.stringify(answer));
    }
  }
});

test('another prompt: PROMPT_MISMATCH', () => {
  const altered = (body: GroupBody): GroupBody => ({
    ...body,
    prompt: body.prompt.map((token, i) => (i === 3 ? (token + 1) % 30 : token)),
  });
  assertRejected({ body: altered }, 'PROMPT_MISMATCH', { position: 3 });
  const cut = (body: GroupBody): GroupBody => ({ ...body, prompt: body.prompt.slice(0, -1) });
  assertRejected({ body: cut }, 'PROMPT_MISMATCH', { measured: -1 });
});

test('a token that has no id: TOKEN_OUT_OF_RANGE', () => {
  const { vocabSize } = context.tokenizer;
  const body = withSequence(1, (each) => ({ ...each, tokens: each.tokens.with(0, vocabSize) }));
  assertRejected({ body, announcement: rewardsOfZero }, 'TOKEN_OUT_OF_RANGE', {
    sequence: 1,
    position: 0,
    measured: vocabSize,
    limit: vocabSize,
  });
});

test('log-probs that no policy has: LOGPROB_INVALID', () => {
  for (const claimed of [Number.NaN, -1e30, 0.001, Number.NEGATIVE_INFINITY, -60.001]) {
    const body = withSequence(3, (each) => ({ ...each, logprobs: each.logprobs.with(0, claimed) }));
    assertRejected({ body }, 'LOGPROB_INVALID', { sequence: 3, position: 0, measured: Math.fround(claimed) });
  }
  for (const claimed of [0, -0, -60]) {
    const body = withSequence(3, (each) => ({ ...each, logprobs: each.logprobs.with(0, claimed) }));
    assert.equal(answerTo({ body }).answer, 'accept');
  }
});

test('an ending that is none: FINISH_REASON', () => {
  const flipped = withSequence(0, (each) => ({ ...each, finish: each.finish === 'eos' ? 'length' : 'eos' }));
  assertRejected({ body: flipped, announcement: rewardsOfZero }, 'FINISH_REASON', { sequence: 0 });
  const cutShort = withSequence(0, () => ({
    tokens: Uint32Array.of(5, 6),
    logprobs: Float32Array.of(-1, -1),
    finish: 'length',
    proofs: new Uint8Array(0),
  }));
  assertRejected({ body: cutShort }, 'FINISH_REASON', { sequence: 0, measured: 2, limit: 16 });
  const pastTheEnd = withSequence(0, () => ({
    tokens: Uint32Array.of(1, 6, 1),
    logprobs: Float32Array.of(-1, -1, -1),
    finish: 'eos',
    proofs: new Uint8Array(0),
  }));
  assertRejected({ body: pastTheEnd }, 'FINISH_REASON', { sequence: 0, position: 0 });
});

test('proofs missing, null or one too many: PROOF_COUNT, PROOF_MALFORMED', () => {
  const long = longSequence(context);
  const none = withSequence(long, (each) => ({ ...each, proofs: new Uint8Array(0) }));
  assertRejected({ body: none }, 'PROOF_COUNT', { sequence: long, position: 0 });
  const twice = withSequence(long, (each) => ({ ...each, proofs: Uint8Array.from([...each.proofs, ...each.proofs]) }));
  assertRejected({ body: twice }, 'PROOF_COUNT', { sequence: long, position: 1 });
  const zeros = withSequence(long, (each) => ({ ...each, proofs: new Uint8Array(each.proofs.length) }));
  assertRejected({ body: zeros }, 'PROOF_MALFORMED', { sequence: long, position: 0, note: 'modulus' });
  const large = withSequence(long, (each) => ({ ...each, proofs: each.proofs.map((byte, i) => (i < 2 ? byte : 255)) }));
  assertRejected({ body: large }, 'PROOF_MALFORMED', { sequence: long, note: 'coefficient' });
  const cut = withSequence(long, (each) => ({ ...each, proofs: each.proofs.slice(0, -1) }));
  assertRejected({ body: cut }, 'PROOF_MALFORMED', { sequence: long, note: 'length' });
});

test('a reward that is not due, by one millionth: REWARD_MISMATCH', () => {
  const announcement: Alteration['announcement'] = (each) => ({
    ...each,
    rewards: each.rewards.map((reward, i) => (i === 1 ? reward + 1 : reward)),
  });
  const due = makeGroup(context, peer, 0).announcement.rewards[1]!;
  assertRejected({ announcement }, 'REWARD_MISMATCH', { sequence: 1, measured: due + 1, limit: due });
});

test('bytes that are not the announced body', () => {
  const { announcement, bytes } = makeGroup(context, peer, 0);
  assert.equal(judgeBody(context, announcement, bytes).answer.answer, 'accept');
  const other = judgeBody(
    context,
    announcement,
    bytes.map((byte) => byte ^ 1),
  ).answer;
  assert.deepEqual([other.answer, other.answer !== 'accept' && other.code], ['ignore', 'BODY_HASH']);
  const short = judgeBody(context, { ...announcement, bodyBytes: bytes.length + 1 }, bytes).answer;
  assert.deepEqual([short.answer, short.answer !== 'accept' && short.code], ['reject', 'SIZE_MISMATCH']);
  const noise = Uint8Array.of(0xff, 0xff, 0xff);
  const broken = judgeBody(context, { ...announcement, bodyHash: sha256(noise), bodyBytes: 3 }, noise).answer;
  assert.deepEqual([broken.answer, broken.answer !== 'accept' && broken.code], ['reject', 'BODY_MALFORMED']);
});

test('the same group under another recipe is another prompt', () => {
  const other = testContext(testRecipe({ pMin: 0.5 }));
  const { announcement, body } = makeGroup(context, peer, 0);
  const answer = checkBody(other, { ...announcement, recipeId: other.recipe.recipeId }, body);
  assert.equal(answer.answer === 'reject' && answer.code, 'PROMPT_MISMATCH');
});

const rewardsOfZero: NonNullable<Alteration['announcement']> = (each) => ({
  ...each,
  rewards: each.rewards.map(() => 0),
});

/** A sequence of slot 0 with at least two tokens, which owes a proof. */
function longSequence(of: typeof context): number {
  return makeGroup(of, peer, 0).body.sequences.findIndex(({ tokens }) => tokens.length > 1);
}

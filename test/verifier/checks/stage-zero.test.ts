// Stage 0: what a participant passes on, ignores, and holds against the one who sent it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maxBodyBytes } from '../../../node/protocol/body.ts';
import { sha256, toHex } from '../../../node/protocol/bytes.ts';
import type { CheckAnswer } from '../../../node/protocol/check.ts';
import { encodeGroup } from '../../../node/protocol/group.ts';
import type { KeyPair } from '../../../node/protocol/keys.ts';
import type { SignedMessage } from '../../../node/protocol/ports.ts';
import { encodeSecret } from '../../../node/protocol/secret.ts';
import { REORDER_GRACE_MS } from '../../../verifier/checks/slots.ts';
import {
  createGroupStageZero,
  createSecretStageZero,
  createStepPlaces,
  createVerdictStageZero,
  type StageZeroView,
} from '../../../verifier/checks/stage-zero.ts';
import { signAs } from '../../support/memory-inbox.ts';
import {
  type Alteration,
  makeGroup,
  newPeer,
  type TestChain,
  testChain,
  testContext,
  testRecipe,
  verdictBy,
} from '../support/swarm.ts';

const [VERIFIER, TRAINER] = [newPeer(), newPeer()];
const context = testContext(
  testRecipe({ verifiers: [toHex(VERIFIER.publicKey)] }, { trainers: [toHex(TRAINER.publicKey)] }),
);
const peer = newPeer();

interface Scene {
  readonly chain: TestChain;
  readonly view: StageZeroView;
  readonly ask: (message: SignedMessage) => CheckAnswer | Promise<CheckAnswer>;
  nowMs: number;
  open: boolean;
  quarantined: string | null;
  knownVerifier: string | null;
}

/** Places of a step. */
const PLACES = 8;

function scene(policyStep = 0): Scene {
  const chain = testChain(policyStep);
  const places = createStepPlaces(PLACES);
  const view: StageZeroView = {
    recipe: (id) =>
      id === context.recipe.recipeIdHex ? { resolved: context.recipe, open: made.open, chain, places } : null,
    isQuarantined: (_, name) => name === made.quarantined,
    isKnown: () => false,
    isKnownVerifier: (_, name) => name === made.knownVerifier,
    nowMs: () => made.nowMs,
  };
  const made: Scene = {
    ...{ chain, view, ask: createGroupStageZero(view), nowMs: 0, open: true },
    ...{ quarantined: null, knownVerifier: null },
  };
  return made;
}

async function assertAnswer(answer: CheckAnswer | Promise<CheckAnswer>, expected: string): Promise<void> {
  const found = await answer;
  assert.equal(found.answer === 'accept' ? 'accept' : `${found.answer} ${found.code}`, expected);
}

const altered = (announcement: NonNullable<Alteration['announcement']>, slot = 0, step = 0): SignedMessage =>
  makeGroup(context, peer, slot, step, { announcement }).message;

test('an honest announcement passes, again when it comes again', async () => {
  const { ask } = scene();
  const { message } = makeGroup(context, peer, 0);
  await assertAnswer(ask(message), 'accept');
  await assertAnswer(ask(message), 'accept');
});

test('only size, decoding and signature are rejected', async () => {
  const { ask } = scene();
  await assertAnswer(ask(signAs(peer, 'group', Uint8Array.of(1, 2, 3))), 'reject MALFORMED');
  const { announcement } = makeGroup(context, peer, 0);
  await assertAnswer(ask(signAs(newPeer(), 'group', encodeGroup(announcement))), 'reject BAD_SIGNATURE');
});

test('recipes unknown or closed', async () => {
  const made = scene();
  const unknown = altered((each) => ({ ...each, recipeId: sha256('another') }));
  await assertAnswer(made.ask(unknown), 'ignore UNKNOWN_RECIPE');
  made.open = false;
  await assertAnswer(made.ask(makeGroup(context, peer, 0).message), 'ignore RECIPE_CLOSED');
});

test('roots that the chain does not have at that step', async () => {
  const { ask } = scene(3);
  await assertAnswer(ask(makeGroup(context, peer, 0, 4).message), 'ignore UNKNOWN_ROOT');
  await assertAnswer(ask(altered((each) => ({ ...each, policyStep: 2 }), 0, 3)), 'ignore UNKNOWN_ROOT');
});

test('lag beyond maxLag', async () => {
  const { ask, chain } = scene(4);
  await assertAnswer(ask(makeGroup(context, peer, 0, 0).message), 'accept');
  chain.moveTo(5);
  await assertAnswer(ask(makeGroup(context, newPeer(), 0, 0).message), 'ignore TOO_OLD');
});

test('slots and sizes outside the recipe', async () => {
  const { ask } = scene();
  const { maxSlotsPerStep } = context.recipe.recipe.staleness;
  await assertAnswer(ask(altered((each) => ({ ...each, slot: maxSlotsPerStep }))), 'ignore SLOT_OUT_OF_RANGE');
  const smaller = altered((each) => ({ ...each, rewards: each.rewards.slice(1), lengths: each.lengths.slice(1) }));
  await assertAnswer(ask(smaller), 'ignore SIZE_MISMATCH');
  await assertAnswer(ask(altered((each) => ({ ...each, lengths: each.lengths.with(2, 17) }))), 'ignore SIZE_MISMATCH');
  const bodyBytes = (by: number) => altered((each) => ({ ...each, bodyBytes: maxBodyBytes(each.lengths) + by }));
  await assertAnswer(ask(bodyBytes(1)), 'ignore SIZE_MISMATCH');
  await assertAnswer(ask(bodyBytes(0)), 'accept');
});

test('a slot announced twice: the second body passes as evidence, a third does not', async () => {
  const { ask } = scene();
  const bodyOf = (label: string): SignedMessage => altered((each) => ({ ...each, bodyHash: sha256(label) }));
  await assertAnswer(ask(makeGroup(context, peer, 0).message), 'accept');
  const sameBody = altered((each) => ({ ...each, bodyBytes: each.bodyBytes + 1 }));
  await assertAnswer(ask(sameBody), 'ignore SLOT_SEEN');
  await assertAnswer(ask(bodyOf('second')), 'accept');
  await assertAnswer(ask(bodyOf('third')), 'ignore SLOT_SEEN');
});

test('a policy step that goes back, once the later step is no news', async () => {
  const made = scene(2);
  await assertAnswer(made.ask(makeGroup(context, peer, 0, 2).message), 'accept');
  made.nowMs = REORDER_GRACE_MS;
  await assertAnswer(made.ask(makeGroup(context, peer, 0, 1).message), 'accept');
  made.nowMs = REORDER_GRACE_MS + 1;
  await assertAnswer(made.ask(makeGroup(context, peer, 1, 1).message), 'ignore STEP_BACKWARD');
  await assertAnswer(made.ask(makeGroup(context, newPeer(), 1, 1).message), 'accept');
});

test('peers in quarantine', async () => {
  const made = scene();
  const { message } = makeGroup(context, peer, 0);
  made.quarantined = message.peerIdString;
  await assertAnswer(made.ask(message), 'ignore QUARANTINED');
});

test('verdicts and secrets of steps long gone or far ahead, or of no recipe of ours', async () => {
  const { view, chain } = scene(6);
  const secretOf = (policyStep: number, recipeId = context.recipe.recipeId): SignedMessage =>
    secretMessage(peer, policyStep, recipeId);
  const ask = createSecretStageZero(view);
  await assertAnswer(ask(secretOf(0)), 'accept');
  chain.moveTo(7);
  await assertAnswer(ask(secretOf(0)), 'ignore TOO_OLD');
  await assertAnswer(ask(secretOf(23)), 'accept');
  await assertAnswer(ask(secretOf(24)), 'ignore UNKNOWN_ROOT');
  await assertAnswer(ask(secretOf(7, sha256('another'))), 'ignore UNKNOWN_RECIPE');
  await assertAnswer(ask(signAs(peer, 'secret', Uint8Array.of(255))), 'reject MALFORMED');
  await assertAnswer(createVerdictStageZero(view)(signAs(peer, 'verdict', Uint8Array.of(255))), 'reject MALFORMED');
});

function secretMessage(by: KeyPair, policyStep: number, recipeId = context.recipe.recipeId): SignedMessage {
  return signAs(by, 'secret', encodeSecret({ recipeId, policyStep, secretHash: sha256('secret'), secret: null }));
}

test('verdicts and secrets of a crowd of keys take the places of a step and no more; named and known verifiers are heard', async () => {
  const made = scene();
  const checks = { verdict: createVerdictStageZero(made.view), secret: createSecretStageZero(made.view) };
  const messages = {
    verdict: (by: KeyPair, policyStep: number, slot: number) =>
      verdictBy(by, context.recipe, { peer, policyStep, slot }),
    secret: (by: KeyPair, policyStep: number) => secretMessage(by, policyStep),
  };
  const [unnamed, known] = [newPeer(), newPeer()];
  made.knownVerifier = known.peerIdString;
  for (const kind of ['verdict', 'secret'] as const) {
    const answers = async (count: number, byOf: (i: number) => KeyPair, step = 0): Promise<string[]> => {
      const given: string[] = [];
      for (let i = 0; i < count; i++) {
        const answer = await checks[kind](messages[kind](byOf(i), step, i));
        given.push(answer.answer === 'accept' ? 'accept' : answer.code);
      }
      return given;
    };
    const one = await answers(PLACES, () => unnamed);
    assert.deepEqual(new Set(one.slice(0, PLACES / 2)), new Set(['accept']));
    assert.deepEqual(new Set(one.slice(PLACES / 2)), new Set(['RATE_LIMITED']), 'one key takes half');
    const crowd = await answers(2 * PLACES, () => newPeer());
    assert.equal(crowd.filter((answer) => answer === 'accept').length, PLACES / 2);
    assert.deepEqual(await answers(1, () => newPeer(), 1), ['accept'], 'another step');
    assert.deepEqual(await answers(3, () => known), ['accept', 'accept', 'accept']);
    assert.deepEqual(new Set(await answers(3 * PLACES, () => VERIFIER)), new Set(['accept']));
    assert.deepEqual(new Set(await answers(3 * PLACES, () => TRAINER)), new Set(['accept']));
  }
});

// Stage 0: what a participant passes on, ignores, and holds against the one who sent it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256 } from '../../../node/protocol/bytes.ts';
import type { CheckAnswer } from '../../../node/protocol/check.ts';
import { encodeGroup } from '../../../node/protocol/group.ts';
import type { SignedMessage } from '../../../node/protocol/ports.ts';
import { encodeSecret } from '../../../node/protocol/secret.ts';
import { createSlotRegister, REORDER_GRACE_MS } from '../../../verifier/checks/slots.ts';
import {
  createGroupStageZero,
  createSecretStageZero,
  createVerdictStageZero,
  type StageZeroView,
} from '../../../verifier/checks/stage-zero.ts';
import { signAs } from '../../support/memory-inbox.ts';
import { type Alteration, makeGroup, newPeer, type TestChain, testChain, testContext } from '../support/swarm.ts';

const context = testContext();
const peer = newPeer();

interface Scene {
  readonly chain: TestChain;
  readonly view: StageZeroView;
  readonly ask: (message: SignedMessage) => CheckAnswer | Promise<CheckAnswer>;
  nowMs: number;
  open: boolean;
  quarantined: string | null;
}

function scene(policyStep = 0): Scene {
  const chain = testChain(policyStep);
  const view: StageZeroView = {
    recipe: (id) => (id === context.recipe.recipeIdHex ? { resolved: context.recipe, open: made.open, chain } : null),
    slots: createSlotRegister(),
    isQuarantined: (_, name) => name === made.quarantined,
    isKnown: () => false,
    nowMs: () => made.nowMs,
  };
  const made: Scene = { chain, view, ask: createGroupStageZero(view), nowMs: 0, open: true, quarantined: null };
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
  const secretOf = (policyStep: number, recipeId = context.recipe.recipeId): SignedMessage => {
    const secretHash = sha256('secret');
    return signAs(peer, 'secret', encodeSecret({ recipeId, policyStep, secretHash, secret: null }));
  };
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

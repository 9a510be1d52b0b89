// Stage 0 as a participant wires it: who is known, by the verifier that runs here or by what the recipe's own verifiers said;
// each recipe by itself; and what earlier runs stored, taken up again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FollowedRecipe, VerifierOf } from '../../../node/cli/participant.ts';
import { createStageZero, type StageZeroChecks } from '../../../node/cli/stage-zero.ts';
import { sha256, toHex } from '../../../node/protocol/bytes.ts';
import { codeOf } from '../../../node/protocol/check.ts';
import { encodeGroup, type GroupAnnouncement } from '../../../node/protocol/group.ts';
import { type KeyPair, peerIdOfPublicKey, peerIdStringOf } from '../../../node/protocol/keys.ts';
import { encodeOffer } from '../../../node/protocol/offer.ts';
import type { PeerIdString, SignedMessage } from '../../../node/protocol/ports.ts';
import type { ResolvedRecipe } from '../../../recipes/resolve.ts';
import { createAcceptedPeers } from '../../../verifier/accepted-peers.ts';
import { MIN_PLACES } from '../../../verifier/checks/places.ts';
import { LATE_STEPS } from '../../../verifier/checks/stage-zero.ts';
import { type MemoryInbox, memoryInbox, signAs } from '../../support/memory-inbox.ts';
import {
  makeGroup,
  newPeer,
  type TestChain,
  testChain,
  testContext,
  testRecipe,
  verdictBy,
} from '../../verifier/support/swarm.ts';

const VERIFIER = newPeer();
const recipeNamed = (name: string): ResolvedRecipe =>
  testRecipe({ verifiers: [toHex(VERIFIER.publicKey)], probationGroups: 1 }, { name });
const [RECIPE, OTHER] = [recipeNamed('one'), recipeNamed('two')];

interface Wired {
  readonly stageZero: StageZeroChecks;
  readonly inbox: MemoryInbox;
  readonly followed: FollowedRecipe;
  /** @returns `accept` or the code */
  readonly deliver: (message: SignedMessage, recipe?: ResolvedRecipe) => Promise<string>;
}

/** A participant that follows both recipes. @param disk messages of earlier runs of RECIPE */
function wired(verifierOf: VerifierOf = () => null, disk: readonly SignedMessage[] = []): Wired {
  // Stage 0 asks no more of what is followed than this.
  const follow = (resolved: ResolvedRecipe): FollowedRecipe =>
    ({
      known: { resolved },
      chain: testChain(1),
      accepted: createAcceptedPeers(resolved.recipe),
    }) as unknown as FollowedRecipe;
  const follows = new Map([RECIPE, OTHER].map((recipe) => [recipe.recipeIdHex, follow(recipe)]));
  const stageZero = createStageZero({ follows, isOpen: () => true, verifierOf });
  const inbox = memoryInbox(
    undefined,
    disk.map((message) => ({ message, scope: RECIPE.recipeIdHex })),
  );
  Object.assign(inbox.stageZero, stageZero.checks);
  const followed = follows.get(RECIPE.recipeIdHex)!;
  inbox.on('verdict', (message, scope) => follows.get(scope!)!.accepted.hear(message));
  return {
    ...{ stageZero, inbox, followed },
    async deliver(message, recipe = RECIPE) {
      const answer = await inbox.deliver(message, recipe.recipeIdHex);
      return answer.answer === 'accept' ? 'accept' : answer.code;
    },
  };
}

const groupOf = (peer: KeyPair, slot = 0, recipe = RECIPE, policyStep = 1): SignedMessage =>
  makeGroup(testContext(recipe), peer, slot, policyStep).message;

const verdictOn = (peer: KeyPair, by: KeyPair): SignedMessage =>
  verdictBy(by, RECIPE, { peer, policyStep: 1, slot: 0 });

/** The same body, announced with other rewards. */
const rewarded = (announcement: GroupAnnouncement): GroupAnnouncement => ({
  ...announcement,
  rewards: announcement.rewards.map((reward) => reward + 1),
});

/** A crowd of new keys, their signatures left out, takes all places of strangers at step 1. */
async function crowd({ stageZero }: Wired): Promise<void> {
  const template = makeGroup(testContext(RECIPE), newPeer(), 0, 1);
  for (let i = 0; i <= MIN_PLACES; i++) {
    const peerId = peerIdOfPublicKey(sha256(`crowd ${i}`));
    const payload = encodeGroup({ ...template.announcement, peerId });
    const message = { ...template.message, peerId, peerIdString: peerIdStringOf(peerId), idHex: `${i}`, payload };
    const { answer } = await stageZero.checks.group(message);
    assert.equal(answer, i < MIN_PLACES ? 'accept' : 'ignore');
  }
}

test('in a crowd, peers are known by what the recipe’s verifiers said, or by the verifier that runs here', async () => {
  const [accepted, unnamed, trusted, stranger] = [newPeer(), newPeer(), newPeer(), newPeer()];
  const made = wired((id) =>
    id !== RECIPE.recipeIdHex
      ? null
      : {
          standing: { isKnown: (peer) => peer === trusted.peerIdString, isQuarantined: () => false },
          verifiers: { isStranger: () => true },
        },
  );
  await crowd(made);
  assert.equal(await made.deliver(verdictOn(accepted, VERIFIER)), 'accept');
  assert.equal(await made.deliver(verdictOn(unnamed, newPeer())), 'accept');
  assert.deepEqual(
    await Promise.all([accepted, unnamed, trusted, stranger].map((peer) => made.deliver(groupOf(peer)))),
    ['accept', 'RATE_LIMITED', 'accept', 'RATE_LIMITED'],
  );
  assert.equal(await made.deliver(groupOf(stranger, 0, OTHER), OTHER), 'accept', 'another recipe has its own places');
  made.stageZero.moveTo(made.followed, 8);
  assert.equal(await made.deliver(groupOf(stranger, 1)), 'accept');
});

test('in a crowd of verifiers, those whom the recipe names are heard, and those that the verifier here found right', async () => {
  const [found, stranger] = [newPeer(), newPeer()];
  const made = wired(() => ({
    standing: { isKnown: () => false, isQuarantined: () => false },
    verifiers: { isStranger: (verifier) => verifier !== found.peerIdString },
  }));
  const template = verdictOn(newPeer(), newPeer());
  for (let i = 0; i < MIN_PLACES; i++) {
    const { answer } = await made.stageZero.checks.verdict({ ...template, peerIdString: `${i}` as PeerIdString });
    assert.equal(answer, 'accept');
  }
  assert.deepEqual(await Promise.all([VERIFIER, found, stranger].map((by) => made.deliver(verdictOn(newPeer(), by)))), [
    'accept',
    'accept',
    'RATE_LIMITED',
  ]);
});

test('the oldest step of which verdicts are accepted keeps its places, whatever manifest comes', async () => {
  const made = wired();
  const { maxLagSteps } = RECIPE.recipe.staleness;
  (made.followed.chain as unknown as TestChain).moveTo(1 + maxLagSteps + LATE_STEPS);
  const template = verdictOn(newPeer(), newPeer());
  const say = async (from: string): Promise<number> => {
    let accepted = 0;
    for (let i = 0; i < MIN_PLACES; i++) {
      const peerIdString = `${from} ${i}` as PeerIdString;
      accepted += (await made.stageZero.checks.verdict({ ...template, peerIdString })).answer === 'accept' ? 1 : 0;
    }
    return accepted;
  };
  assert.equal(await say('first'), MIN_PLACES);
  made.stageZero.moveTo(made.followed, 1 + maxLagSteps + LATE_STEPS);
  assert.equal(await say('second'), 0);
});

test('whom the verifier here has in quarantine is ignored at those steps', async () => {
  const peer = newPeer();
  const made = wired(() => ({
    standing: { isKnown: () => false, isQuarantined: (name, step) => name === peer.peerIdString && step === 1 },
    verifiers: { isStranger: () => true },
  }));
  assert.equal(await made.deliver(groupOf(peer)), 'QUARANTINED');
  assert.equal(await made.deliver(groupOf(peer, 0, RECIPE, 0)), 'accept');
});

test('what earlier runs stored has its places after a restart, and who was found good is known', async () => {
  const [peer, known] = [newPeer(), newPeer()];
  const disk = [groupOf(peer), groupOf(known), verdictOn(known, VERIFIER)];
  const made = wired(() => null, disk);
  await made.stageZero.recall(made.inbox, made.followed);
  await assert.rejects(crowd(made), 'one stranger’s group was there before');
  assert.deepEqual(
    await Promise.all([
      made.deliver(groupOf(known, 1)),
      made.deliver(makeGroup(testContext(RECIPE), peer, 0, 1, { announcement: rewarded }).message),
    ]),
    ['accept', 'SLOT_SEEN'],
  );
});

test('an offer that its trainer has not repeated for ten minutes is ignored', async () => {
  const { inbox } = wired();
  const rest = { architectures: [], maxParameters: 1, trainingRecipeIds: [], initialPolicyRoots: [] };
  const answerTo = async (payload: Uint8Array): Promise<string | null> =>
    codeOf(await inbox.deliver(signAs(VERIFIER, 'offer', payload), null));
  const aged = (minutes: number): Uint8Array =>
    encodeOffer({ ...rest, timeMs: Date.now() - minutes * 60_000, accepts: 'all' });
  assert.deepEqual(
    [await answerTo(aged(9)), await answerTo(aged(11)), await answerTo(aged(-11))],
    [null, 'TOO_OLD', null],
  );
  assert.equal(await answerTo(Uint8Array.of(1)), 'MALFORMED');
});

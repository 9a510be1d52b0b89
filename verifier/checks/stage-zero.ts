// Stage 0 of groups, verdicts and step secrets: what every participant asks of a message before it passes it on. No model, < 5 ms.
// Source: spec/rollouts.md "Order of checks", stage 0: reject only for size, decoding and signature, because a gossip reject
// is held against the peer that passed the message on; everything else is ignored.

import { maxBodyBytes } from '../../node/protocol/body.ts';
import { equalBytes, toHex } from '../../node/protocol/bytes.ts';
import { ACCEPT, type CheckAnswer, ignore, reject } from '../../node/protocol/check.ts';
import { errorText, isSwarmError } from '../../node/protocol/errors.ts';
import { decodeGroup, type GroupAnnouncement } from '../../node/protocol/group.ts';
import type { PolicyChain, SignedMessage, StageZero } from '../../node/protocol/ports.ts';
import { decodeSecret } from '../../node/protocol/secret.ts';
import { decodeVerdict, type Verdict } from '../../node/protocol/verdict.ts';
import type { ResolvedRecipe } from '../../recipes/resolve.ts';
import { namedKeys } from '../accepted-peers.ts';
import { createPlaces, type Places } from './places.ts';
import { createSlotRegister, type SlotClaim, type SlotRegister } from './slots.ts';

/** Steps after maxLag for which verdicts and secrets still pass. */
export const LATE_STEPS = 2;
/** Steps that verdicts and secrets may be ahead of the policies known here; those further on wait. Our own. */
const EARLY_STEPS = 16;

/** A recipe that this machine follows. */
export interface FollowedRecipe {
  readonly resolved: ResolvedRecipe;
  /** whether its trainer was heard of lately (spec/wire.md "A recipe is open") */
  readonly open: boolean;
  readonly chain: PolicyChain;
  readonly places: StepPlaces;
}

/** What a recipe's steps have places for, each apart from the others. */
export interface StepPlaces {
  readonly slots: SlotRegister;
  /** of verifiers that the recipe does not name, as are those of secrets */
  readonly verdicts: Places;
  readonly secrets: Places;
}

/** All free. @param count places of a step. Default: MIN_PLACES */
export function createStepPlaces(count?: number): StepPlaces {
  return { slots: createSlotRegister(count), verdicts: createPlaces(count), secrets: createPlaces(count) };
}

/** What stage 0 sees of the machine it runs on. */
export interface StageZeroView {
  /** null: not followed */
  recipe(recipeIdHex: string): FollowedRecipe | null;
  /** whether a peer may not take part at this policy step */
  isQuarantined(recipeIdHex: string, peer: string, policyStep: number): boolean;
  /** whether a peer's groups were found good before: it takes no place of strangers, and they none of its own */
  isKnown(recipeIdHex: string, peer: string): boolean;
  /** the same of a verifier that the recipe does not name: whether its verdicts were confirmed before */
  isKnownVerifier(recipeIdHex: string, verifier: string): boolean;
  nowMs(): number;
}

/** An announcement and what of its recipe it is held against. */
interface GroupSubject {
  readonly group: GroupAnnouncement;
  readonly peer: string;
  readonly followed: FollowedRecipe;
  readonly view: StageZeroView;
}

type GroupCheck = (subject: GroupSubject) => CheckAnswer;

/** [IGNORE] The recipe is open. */
const recipeOpen: GroupCheck = ({ followed }) => (followed.open ? ACCEPT : ignore('RECIPE_CLOSED'));

/** [IGNORE] The policy is the one that the chain has at that step (UNKNOWN_ROOT). */
const policyKnown: GroupCheck = ({ group, followed }) =>
  followed.chain.at(group.policyStep)?.policyRoot === toHex(group.policyRoot)
    ? ACCEPT
    : ignore('UNKNOWN_ROOT', { measured: group.policyStep });

/** [IGNORE] The lag is within maxLag (TOO_OLD). */
const lagWithin: GroupCheck = ({ group, followed }) => {
  const limit = followed.resolved.recipe.staleness.maxLagSteps;
  const measured = (followed.chain.announced()?.policyStep ?? 0) - group.policyStep;
  return measured <= limit ? ACCEPT : ignore('TOO_OLD', { measured, limit });
};

/** [IGNORE] Slot, group size and lengths are in the recipe's range, and the body is no larger than they let it be. */
const withinRecipe: GroupCheck = ({ group, followed }) => {
  const { staleness, groupSize, sampling } = followed.resolved.recipe;
  if (group.slot >= staleness.maxSlotsPerStep) {
    return ignore('SLOT_OUT_OF_RANGE', { measured: group.slot, limit: staleness.maxSlotsPerStep });
  }
  if (group.lengths.length !== groupSize) {
    return ignore('SIZE_MISMATCH', { measured: group.lengths.length, limit: groupSize });
  }
  const sequence = group.lengths.findIndex((length) => length > sampling.maxNewTokens);
  if (sequence >= 0) {
    return ignore('SIZE_MISMATCH', { sequence, measured: group.lengths[sequence]!, limit: sampling.maxNewTokens });
  }
  const limit = maxBodyBytes(group.lengths);
  return group.bodyBytes <= limit ? ACCEPT : ignore('SIZE_MISMATCH', { measured: group.bodyBytes, limit });
};

/** [IGNORE] The peer is not in quarantine. */
const notQuarantined: GroupCheck = ({ group, peer, followed, view }) =>
  view.isQuarantined(followed.resolved.recipeIdHex, peer, group.policyStep) ? ignore('QUARANTINED') : ACCEPT;

const GROUP_CHECKS: readonly GroupCheck[] = [recipeOpen, policyKnown, lagWithin, withinRecipe, notQuarantined];

/** Stage 0 of kind "group". Notes the slot of what it accepts. */
export function createGroupStageZero(view: StageZeroView): StageZero {
  return (message) => {
    const group = decoded(() => decodeGroup(message.payload));
    if ('answer' in group) return group;
    // [REJECT] The signer is the peer that the announcement names.
    if (!equalBytes(group.peerId, message.peerId)) return reject('BAD_SIGNATURE', { note: 'signed by another peer' });
    const followed = view.recipe(toHex(group.recipeId));
    if (followed === null) return ignore('UNKNOWN_RECIPE');
    const subject: GroupSubject = { group, peer: message.peerIdString, followed, view };
    for (const check of GROUP_CHECKS) {
      const answer = check(subject);
      if (answer.answer !== 'accept') return answer;
    }
    const claim: SlotClaim = {
      peer: message.peerIdString,
      policyStep: group.policyStep,
      slot: group.slot,
      groupIdHex: message.idHex,
      bodyHashHex: toHex(group.bodyHash),
      isKnown: view.isKnown(toHex(group.recipeId), message.peerIdString),
    };
    const answer = followed.places.slots.ask(claim, view.nowMs());
    if (answer.answer === 'accept') followed.places.slots.note(claim, view.nowMs());
    return answer;
  };
}

/** Stage 0 of kind "verdict": decodes, of a recipe followed, of a step not long gone. Whose verdicts count is the reader's choice. */
export function createVerdictStageZero(view: StageZeroView): StageZero {
  return (message) => {
    const verdict = decoded(() => decodeVerdict(message.payload));
    return 'limits' in verdict ? ofVerifier(view, message, verdict, 'verdicts') : verdict;
  };
}

/** Stage 0 of kind "secret": as of verdicts. */
export function createSecretStageZero(view: StageZeroView): StageZero {
  return (message) => {
    const secret = decoded(() => decodeSecret(message.payload));
    return 'secretHash' in secret ? ofVerifier(view, message, secret, 'secrets') : secret;
  };
}

/** Takes a place for what it accepts of verifiers that the recipe does not name. */
function ofVerifier(
  view: StageZeroView,
  message: SignedMessage,
  { recipeId, policyStep }: Pick<Verdict, 'recipeId' | 'policyStep'>,
  kind: 'verdicts' | 'secrets',
): CheckAnswer {
  const recipeIdHex = toHex(recipeId);
  const followed = view.recipe(recipeIdHex);
  if (followed === null) return ignore('UNKNOWN_RECIPE');
  const answer = stepStillMatters(followed, policyStep);
  if (answer.answer !== 'accept' || namedKeys(followed.resolved.recipe).includes(toHex(message.publicKey)))
    return answer;
  const peer = message.peerIdString;
  const claim = { peer, policyStep, isKnown: view.isKnownVerifier(recipeIdHex, peer) };
  const places = followed.places[kind];
  const room = places.ask(claim);
  if (room.answer === 'accept') places.take(claim);
  return room;
}

function stepStillMatters({ resolved, chain }: FollowedRecipe, policyStep: number): CheckAnswer {
  const limit = resolved.recipe.staleness.maxLagSteps + LATE_STEPS;
  const measured = (chain.announced()?.policyStep ?? 0) - policyStep;
  // [IGNORE] Steps far ahead: they may be made up, and would be kept until the chain gets there.
  if (measured < -EARLY_STEPS) return ignore('UNKNOWN_ROOT', { measured: policyStep });
  return measured <= limit ? ACCEPT : ignore('TOO_OLD', { measured, limit });
}

/** [REJECT] The payload decodes within its limits. */
function decoded<T extends object>(decode: () => T): T | CheckAnswer {
  try {
    return decode();
  } catch (error) {
    if (!isSwarmError(error)) throw error;
    return reject(error.code === 'TOO_LARGE' ? 'TOO_LARGE' : 'MALFORMED', { note: errorText(error).slice(0, 200) });
  }
}

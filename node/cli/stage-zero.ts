// Stage 0 of every kind, for the recipes that are followed: the checks of verifier and shardcast, put together.
// Source: spec/rollouts.md "Order of checks". Recipes and offers are announced before anything is known of them:
// they pass on their signature, offers if they are not old; what they name is checked when it is fetched, and how many are kept
// is bounded where they are (recipe-book.ts, network/offer-shelf.ts).

import type { ResolvedRecipe } from '../../recipes/resolve.ts';
import type { PolicyChainService } from '../../shardcast/chain.ts';
import { placesOf } from '../../verifier/checks/places.ts';
import {
  createGroupStageZero,
  createSecretStageZero,
  createStepPlaces,
  createVerdictStageZero,
  LATE_STEPS,
  type StageZeroView,
  type StepPlaces,
} from '../../verifier/checks/stage-zero.ts';
import { OFFER_MAX_AGE_MS } from '../network/offer-shelf.ts';
import { readPayloadHead } from '../network/payload-head.ts';
import { toHex } from '../protocol/bytes.ts';
import { ACCEPT, type CheckAnswer, ignore, reject } from '../protocol/check.ts';
import { decodeContinuation } from '../protocol/continuation.ts';
import { decodeManifest } from '../protocol/manifest.ts';
import { decodeOffer } from '../protocol/offer.ts';
import type { Inbox, MessageKind, SignedMessage, StageZero } from '../protocol/ports.ts';
import { decodeRecipeAnnouncement } from '../protocol/recipe-announcement.ts';
import type { FollowedRecipe, VerifierOf } from './participant.ts';
import { systemClock } from './system.ts';

export interface StageZeroInit {
  readonly follows: ReadonlyMap<string, FollowedRecipe>;
  readonly isOpen: (recipeIdHex: string) => boolean;
  readonly verifierOf: VerifierOf;
}

function decodes(decode: (payload: Uint8Array) => unknown): StageZero {
  return (message: SignedMessage): CheckAnswer => {
    try {
      decode(message.payload);
      return ACCEPT;
    } catch {
      return reject('MALFORMED');
    }
  };
}

/** [IGNORE] An offer that its trainer has not repeated (TOO_OLD): it would go round among those who tell each other the past. */
function checkOffer(message: SignedMessage): CheckAnswer {
  let ageMs: number;
  try {
    ageMs = systemClock.nowMs() - decodeOffer(message.payload).timeMs;
  } catch {
    return reject('MALFORMED');
  }
  return ageMs < OFFER_MAX_AGE_MS ? ACCEPT : ignore('TOO_OLD', { measured: ageMs, limit: OFFER_MAX_AGE_MS });
}

export interface StageZeroChecks {
  readonly checks: Record<MessageKind, StageZero>;
  /** the newest policy of a recipe is of this step: places are forgotten of steps of which nothing is accepted any more */
  moveTo(followed: FollowedRecipe, policyStep: number): void;
  /** what earlier runs stored takes its places again; who was found good then is known first */
  recall(inbox: Pick<Inbox, 'stored'>, followed: FollowedRecipe): Promise<void>;
}

/** The recipe that a payload names; null when it does not decode. */
function recipeOf(
  decode: (payload: Uint8Array) => { readonly recipeId: Uint8Array },
  payload: Uint8Array,
): string | null {
  try {
    return toHex(decode(payload).recipeId);
  } catch {
    return null;
  }
}

/** The oldest step of which anything is accepted when the newest policy is of `policyStep`. */
function oldestStep({ recipe }: ResolvedRecipe, policyStep: number): number {
  return policyStep - recipe.staleness.maxLagSteps - LATE_STEPS;
}

export function createStageZero({ follows, isOpen, verifierOf }: StageZeroInit): StageZeroChecks {
  // Each recipe has its own steps.
  const places = new Map<string, StepPlaces>();
  const placesIn = ({ recipe, recipeIdHex: id }: ResolvedRecipe): StepPlaces => {
    const known = places.get(id) ?? createStepPlaces(placesOf(recipe));
    places.set(id, known);
    return known;
  };
  const view: StageZeroView = {
    recipe(id) {
      const followed = follows.get(id);
      if (followed === undefined) return null;
      const { resolved } = followed.known;
      return { resolved, open: isOpen(id), chain: followed.chain, places: placesIn(resolved) };
    },
    isQuarantined: (id, peer, step) => verifierOf(id)?.standing.isQuarantined(peer, step) ?? false,
    isKnown: (id, peer) =>
      verifierOf(id)?.standing.isKnown(peer) === true || follows.get(id)?.accepted.isKnown(peer) === true,
    isKnownVerifier: (id, verifier) => verifierOf(id)?.verifiers.isStranger(verifier) === false,
    nowMs: () => systemClock.nowMs(),
  };
  /** A check that the chain of the recipe makes. */
  const ofChain =
    (decode: Parameters<typeof recipeOf>[0], checkOf: (chain: PolicyChainService) => StageZero): StageZero =>
    (message) => {
      const id = recipeOf(decode, message.payload);
      if (id === null) return reject('MALFORMED');
      const followed = follows.get(id);
      return followed === undefined ? ignore('UNKNOWN_RECIPE') : checkOf(followed.chain)(message);
    };
  const checks: Record<MessageKind, StageZero> = {
    recipe: decodes(decodeRecipeAnnouncement),
    offer: checkOffer,
    group: createGroupStageZero(view),
    verdict: createVerdictStageZero(view),
    secret: createSecretStageZero(view),
    manifest: ofChain(decodeManifest, (chain) => chain.stageZero),
    continuation: ofChain(decodeContinuation, (chain) => chain.continuationStageZero),
  };
  return {
    checks,
    moveTo({ known: { resolved } }, policyStep) {
      for (const each of Object.values(placesIn(resolved))) each.forgetBefore(oldestStep(resolved, policyStep));
    },
    async recall(inbox, { known: { resolved }, accepted, chain }) {
      const id = resolved.recipeIdHex;
      const oldest = oldestStep(resolved, chain.announced()?.policyStep ?? 0);
      for (const kind of ['verdict', 'group', 'secret'] as const) {
        for await (const message of inbox.stored(kind, id)) {
          if (kind === 'verdict') accepted.hear(message);
          // Most are older: to look at each more closely takes longer than to read it (measured).
          if ((readPayloadHead(message.payload)?.policyStep ?? 0) >= oldest) await checks[kind](message);
        }
      }
    },
  };
}

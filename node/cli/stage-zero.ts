// Stage 0 of every kind, for the recipes that are followed: the checks of verifier and shardcast, put together.
// Source: spec/rollouts.md "Order of checks". Recipes and offers are announced before anything is known of them:
// they pass on their signature, and what they name is checked when it is fetched.

import type { ResolvedRecipe } from '../../recipes/resolve.ts';
import type { PolicyChainService } from '../../shardcast/chain.ts';
import { createSlotRegister, placesOf, type SlotRegister } from '../../verifier/checks/slots.ts';
import {
  createGroupStageZero,
  createSecretStageZero,
  createVerdictStageZero,
  type StageZeroView,
} from '../../verifier/checks/stage-zero.ts';
import { readPayloadHead } from '../network/payload-head.ts';
import { toHex } from '../protocol/bytes.ts';
import { ACCEPT, type CheckAnswer, ignore, reject } from '../protocol/check.ts';
import { decodeContinuation } from '../protocol/continuation.ts';
import { decodeManifest } from '../protocol/manifest.ts';
import { decodeOffer } from '../protocol/offer.ts';
import type { MessageKind, SignedMessage, StageZero } from '../protocol/ports.ts';
import { decodeRecipeAnnouncement } from '../protocol/recipe-announcement.ts';
import type { FollowedRecipe } from './participant.ts';
import { systemClock } from './system.ts';

export interface StageZeroInit {
  readonly follows: ReadonlyMap<string, FollowedRecipe>;
  readonly isOpen: (recipeIdHex: string) => boolean;
  /** asks the standing that a verifier in this process keeps */
  readonly isQuarantined: (recipeIdHex: string, peer: string, policyStep: number) => boolean;
  /** the same standing, or what the recipe's verifiers said */
  readonly isKnown: (recipeIdHex: string, peer: string) => boolean;
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

export interface StageZeroChecks {
  readonly checks: Record<MessageKind, StageZero>;
  /** slots of a recipe's steps before this one are forgotten */
  forgetBefore(recipeIdHex: string, policyStep: number): void;
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

export function createStageZero(init: StageZeroInit): StageZeroChecks {
  // Slots are counted by policy step, and each recipe has its own steps.
  const slots = new Map<string, SlotRegister>();
  const slotsOf = ({ recipe, recipeIdHex: id }: ResolvedRecipe): SlotRegister => {
    const known = slots.get(id) ?? createSlotRegister({ places: placesOf(recipe) });
    slots.set(id, known);
    return known;
  };
  const view = (register: SlotRegister): StageZeroView => ({
    recipe(id) {
      const followed = init.follows.get(id);
      if (followed === undefined) return null;
      return { resolved: followed.known.resolved, open: init.isOpen(id), chain: followed.chain };
    },
    slots: register,
    isQuarantined: init.isQuarantined,
    isKnown: init.isKnown,
    nowMs: () => systemClock.nowMs(),
  });
  /** A check that the chain of the recipe makes. */
  const ofChain =
    (decode: Parameters<typeof recipeOf>[0], checkOf: (chain: PolicyChainService) => StageZero): StageZero =>
    (message) => {
      const id = recipeOf(decode, message.payload);
      if (id === null) return reject('MALFORMED');
      const followed = init.follows.get(id);
      return followed === undefined ? ignore('UNKNOWN_RECIPE') : checkOf(followed.chain)(message);
    };
  const anySlots = view(createSlotRegister());
  const checks: Record<MessageKind, StageZero> = {
    recipe: decodes(decodeRecipeAnnouncement),
    offer: decodes(decodeOffer),
    group(message) {
      const id = readPayloadHead(message.payload)?.recipeIdHex ?? null;
      const followed = id === null ? null : init.follows.get(id);
      if (followed === undefined) return ignore('UNKNOWN_RECIPE');
      return createGroupStageZero(followed === null ? anySlots : view(slotsOf(followed.known.resolved)))(message);
    },
    verdict: createVerdictStageZero(anySlots),
    secret: createSecretStageZero(anySlots),
    manifest: ofChain(decodeManifest, (chain) => chain.stageZero),
    continuation: ofChain(decodeContinuation, (chain) => chain.continuationStageZero),
  };
  return { checks, forgetBefore: (id, policyStep) => slots.get(id)?.forgetBefore(policyStep) };
}

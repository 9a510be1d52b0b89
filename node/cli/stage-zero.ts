// Stage 0 of every kind, for the recipes that are followed: the checks of verifier and shardcast, put together.
// Source: spec/rollouts.md "Order of checks". Recipes and offers are announced before anything is known of them:
// they pass on their signature, and what they name is checked when it is fetched.

import { createSlotRegister } from '../../verifier/checks/slots.ts';
import {
  createGroupStageZero,
  createSecretStageZero,
  createVerdictStageZero,
  type StageZeroView,
} from '../../verifier/checks/stage-zero.ts';
import { toHex } from '../protocol/bytes.ts';
import { ACCEPT, type CheckAnswer, ignore, reject } from '../protocol/check.ts';
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
  /** slots of steps before this one are forgotten */
  forgetBefore(policyStep: number): void;
}

export function createStageZero(init: StageZeroInit): StageZeroChecks {
  const slots = createSlotRegister();
  const view: StageZeroView = {
    recipe(id) {
      const followed = init.follows.get(id);
      if (followed === undefined) return null;
      return { resolved: followed.known.resolved, open: init.isOpen(id), chain: followed.chain };
    },
    slots,
    isQuarantined: init.isQuarantined,
    nowMs: () => systemClock.nowMs(),
  };
  const checks: Record<MessageKind, StageZero> = {
    recipe: decodes(decodeRecipeAnnouncement),
    offer: decodes(decodeOffer),
    group: createGroupStageZero(view),
    verdict: createVerdictStageZero(view),
    secret: createSecretStageZero(view),
    manifest(message) {
      try {
        const followed = init.follows.get(toHex(decodeManifest(message.payload).recipeId));
        return followed === undefined ? ignore('UNKNOWN_RECIPE') : followed.chain.stageZero(message);
      } catch {
        return reject('MALFORMED');
      }
    },
  };
  return { checks, forgetBefore: (policyStep) => slots.forgetBefore(policyStep) };
}

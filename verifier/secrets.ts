// The verifier's sampling secrets: one a policy step, its hash signed and gossiped before the step opens, itself shown after maxLag.
// Source: spec/rollouts.md "Order of checks" (HMAC of the secret and the groupId); spec/wire.md "step secret".
// Invariants: a secret is on disk before its hash is published, and is never published twice for one step, also when a verdict
// of a step comes after its secret was shown.

import { createHmac } from 'node:crypto';
import { sha256 } from '../node/protocol/bytes.ts';
import type { Inbox, Random, Records } from '../node/protocol/ports.ts';
import { encodeSecret } from '../node/protocol/secret.ts';
import type { ResolvedRecipe } from '../recipes/resolve.ts';

const SECRET_BYTES = 32;
/** Shown secrets stay in memory this many steps: a replay that was under way still names their hash in its verdict. */
const KEEP_SHOWN_STEPS = 4;

/** What a secret decides of one group. */
export interface Choice {
  /** in [0, 1): replayed whole when below the peer's probability */
  readonly lot: number;
  /** the sequence that is replayed in any case */
  readonly sequence: number;
}

/** What a secret decides of a group; anybody can tell once it is shown. */
export function choiceOf(secret: Uint8Array, groupId: Uint8Array, groupSize: number): Choice {
  const hmac = createHmac('sha256', secret).update(groupId).digest();
  return {
    lot: Number(hmac.readBigUInt64BE(0) >> 11n) / 2 ** 53,
    sequence: Number(hmac.readBigUInt64BE(8) % BigInt(groupSize)),
  };
}

export interface StepSecrets {
  /** commits to a step (and publishes its hash) if that was not done yet. @returns the hash */
  commit(policyStep: number): Promise<Uint8Array>;
  /** of a step that was committed to. */
  choose(policyStep: number, groupId: Uint8Array, groupSize: number): Choice;
  /** shows the secrets of steps before this one, and forgets them */
  showBefore(policyStep: number): Promise<void>;
}

/** @param init `recipe` scopes records and messages */
export function createStepSecrets(
  components: { readonly records: Records; readonly inbox: Inbox; readonly random: Random },
  init: { readonly recipe: ResolvedRecipe },
): StepSecrets {
  const { records, inbox, random } = components;
  const { recipeId, recipeIdHex } = init.recipe;
  const prefix = `verifier/${recipeIdHex}/secret/`;
  const keyOf = (policyStep: number): string => prefix + String(policyStep).padStart(12, '0');
  const secrets = new Map<number, Uint8Array>();
  const underWay = new Map<number, Promise<Uint8Array>>();
  let shownBefore = 0;

  const publish = (policyStep: number, secret: Uint8Array, isShown: boolean): Promise<unknown> => {
    const payload = { recipeId, policyStep, secretHash: sha256(secret), secret: isShown ? secret : null };
    return inbox.publish('secret', encodeSecret(payload), recipeIdHex);
  };

  const make = async (policyStep: number): Promise<Uint8Array> => {
    const stored = await records.get(keyOf(policyStep));
    const secret = stored ?? random.bytes(SECRET_BYTES);
    // A step that is over gets no commitment any more; nothing of it is accepted either.
    const isNew = stored === undefined && policyStep >= shownBefore;
    if (isNew) await records.put(keyOf(policyStep), secret);
    secrets.set(policyStep, secret);
    if (isNew) await publish(policyStep, secret, false);
    return sha256(secret);
  };

  return {
    async commit(policyStep) {
      const known = secrets.get(policyStep);
      if (known !== undefined) return sha256(known);
      const running = underWay.get(policyStep) ?? make(policyStep).finally(() => underWay.delete(policyStep));
      underWay.set(policyStep, running);
      return await running;
    },
    choose: (policyStep, groupId, groupSize) => choiceOf(secrets.get(policyStep)!, groupId, groupSize),
    async showBefore(policyStep) {
      shownBefore = Math.max(shownBefore, policyStep);
      const gone: (readonly [number, Uint8Array])[] = [];
      for await (const [key, value] of records.entries({ gte: prefix, lt: keyOf(Math.max(0, policyStep)) })) {
        gone.push([Number(key.slice(prefix.length)), value]);
      }
      for (const [step, secret] of gone) {
        await publish(step, secret, true);
        await records.delete(keyOf(step));
      }
      for (const step of secrets.keys()) if (step < policyStep - KEEP_SHOWN_STEPS) secrets.delete(step);
    },
  };
}

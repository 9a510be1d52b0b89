// Completions seen from another peer: both groups then go to stage 2 in whole. No lie by itself, equal short answers happen.
// Source: spec/rollouts.md stage 1 ("a completion digest seen from another peer"). Memory only, forgets by step.

import type { GroupBody } from '../../node/protocol/body.ts';
import { sha256, toHex } from '../../node/protocol/bytes.ts';

/** Shorter completions are equal by chance too often for a look to be worth a whole replay. Our own. */
export const MIN_COPY_TOKENS = 16;

export interface CopyRegister {
  /** @returns ids of groups by other peers that hold one of these completions; registers this group */
  seen(groupIdHex: string, peer: string, policyStep: number, body: GroupBody): readonly string[];
  forgetBefore(policyStep: number): void;
}

interface Holder {
  readonly groupIdHex: string;
  readonly peer: string;
  readonly policyStep: number;
}

/** A register of completions, empty at first. */
export function createCopyRegister(): CopyRegister {
  const holders = new Map<string, Holder>();
  return {
    seen(groupIdHex, peer, policyStep, body) {
      const others = new Set<string>();
      for (const { tokens } of body.sequences) {
        if (tokens.length < MIN_COPY_TOKENS) continue;
        const digest = toHex(sha256(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength)));
        const holder = holders.get(digest);
        if (holder === undefined) holders.set(digest, { groupIdHex, peer, policyStep });
        else if (holder.peer !== peer) others.add(holder.groupIdHex);
      }
      return [...others];
    },
    forgetBefore(policyStep) {
      for (const [digest, holder] of holders) if (holder.policyStep < policyStep) holders.delete(digest);
    },
  };
}

/** Whether two bodies say the same tokens (log-probs and proofs may differ by rounding). */
export function sameTokens(a: GroupBody, b: GroupBody): boolean {
  const lists = (body: GroupBody): Uint32Array[] => [body.prompt, ...body.sequences.map((sequence) => sequence.tokens)];
  const [left, right] = [lists(a), lists(b)];
  return (
    left.length === right.length &&
    left.every((list, i) => list.length === right[i]!.length && list.every((token, t) => token === right[i]![t]))
  );
}

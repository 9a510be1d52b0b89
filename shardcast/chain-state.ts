// Which manifests are followed: the links between them, without I/O (spec/shardcast.md "What is published").
//
// The rule: a manifest is followed when it is the first one known, or its parent or its child is followed and the roots fit.
// Else it is parked until a neighbour comes, or until `jump` is called: a machine that slept longer than others keep policies
// would wait for ever. That is safe for the same reason as a newcomer's start: only a trainer key of the recipe can sign one,
// and any second root of one step that is ever seen ends the chain there.
// Two roots of one step end the chain there, until the recipe's author names the one that goes on (a continuation): then the
// steps from there on are followed anew, without those of revoked keys. That is the only way to leave what was followed.
// Invariants: no root occurs at two steps; from a step with two roots on nothing is followed unless a continuation says so.

import { toHex } from '../node/protocol/bytes.ts';
import { ACCEPT, type CheckAnswer, ignore } from '../node/protocol/check.ts';
import type { Continuation } from '../node/protocol/continuation.ts';
import type { Manifest } from '../node/protocol/manifest.ts';
import type { PeerIdString } from '../node/protocol/ports.ts';

/** Manifests waiting for a neighbour. Our own bound. */
const MAX_PARKED = 16;

export interface ChainEntry {
  readonly manifestId: string;
  readonly signer: PeerIdString;
  /** hex public key of the signer */
  readonly signerKey: string;
  readonly manifest: Manifest;
  /** hex of manifest.policyRoot */
  readonly policyRoot: string;
}

/** Two manifests of one step with different roots, both signed by trainers of the recipe. */
export interface Equivocation {
  readonly policyStep: number;
  readonly policyRoots: readonly string[];
}

export type Added = 'followed' | 'updated' | 'parked' | 'equivocation' | 'refused';

export interface ChainState {
  /** whether it is of a policy that is known, followed or parked */
  isUpdate(manifest: Manifest): boolean;
  /** What `add` would make of it: accept is to be stored and passed on, also the second half of an equivocation. */
  judge(manifest: Manifest, signerKey: string): CheckAnswer;
  /** what `continueWith` would make of it */
  judgeContinuation(continuation: Continuation): CheckAnswer;
  /** Lets go of what does not fit the author's word; the manifests that do are to be added again. @returns whether it was news */
  continueWith(continuation: Continuation): boolean;
  /** the author's words, by step */
  continuations(): readonly Continuation[];
  add(entry: ChainEntry): Added;
  /** newest followed */
  head(): ChainEntry | null;
  at(policyStep: number): ChainEntry | null;
  /** followed, newest first */
  newestFirst(): readonly ChainEntry[];
  equivocation(): Equivocation | null;
  /** whether a manifest newer than the head waits for the ones between */
  hasGap(): boolean;
  /** follows the oldest manifest behind a gap. @returns whether there was one */
  jump(): boolean;
}

/** A chain without any manifest. */
export function createChainState(): ChainState {
  const followed = new Map<number, ChainEntry>();
  const parked = new Map<number, ChainEntry>();
  const stepOfRoot = new Map<string, number>();
  let headStep = -1;
  /** `followed`, newest first; null when it has to be sorted again */
  let sorted: readonly ChainEntry[] | null = null;
  let fork: Equivocation | null = null;
  /** the latest of each step, by step */
  let words: readonly Continuation[] = [];

  const known = (step: number): ChainEntry | undefined => followed.get(step) ?? parked.get(step);
  const parentOf = ({ parentRoot }: Manifest): string | null => (parentRoot === null ? null : toHex(parentRoot));

  /** Whether the author's words leave room for it. */
  function allowed(manifest: Manifest, signerKey: string): CheckAnswer {
    const root = toHex(manifest.policyRoot);
    for (const { policyStep, policyRoot, trainerKey, revokedKeys } of words) {
      if (manifest.policyStep < policyStep) continue;
      const isNamed = manifest.policyStep === policyStep && root === toHex(policyRoot);
      // [IGNORE] another policy of a step that the author has spoken on
      if (manifest.policyStep === policyStep && !isNamed) return ignore('EQUIVOCATION');
      if (isNamed && signerKey === toHex(trainerKey)) continue;
      // [IGNORE] the key is revoked from an earlier step on
      if (revokedKeys.some((key) => toHex(key) === signerKey)) return ignore('NOT_A_TRAINER');
    }
    return ACCEPT;
  }

  function judge(manifest: Manifest, signerKey: string): CheckAnswer {
    const { policyStep } = manifest;
    const root = toHex(manifest.policyRoot);
    const spoken = allowed(manifest, signerKey);
    if (spoken.answer !== 'accept') return spoken;
    // [IGNORE] at and after two roots of one step nothing is followed; both of the pair have been passed on
    if (fork !== null && policyStep >= fork.policyStep) return ignore('EQUIVOCATION');
    const same = known(policyStep);
    if (same !== undefined) {
      // [IGNORE] the author has spoken on a later step: what was before it is settled
      if (same.policyRoot !== root) return policyStep < settledBefore() ? ignore('EQUIVOCATION') : ACCEPT;
      // [IGNORE] the same policy again says something only when it is later: new admission, or closing
      return manifest.timeMs > same.manifest.timeMs ? ACCEPT : ignore('DUPLICATE');
    }
    // [IGNORE] seeds never come twice
    if ((stepOfRoot.get(root) ?? policyStep) !== policyStep) return ignore('ROOT_REPEATED');
    // [IGNORE] its neighbours are of another chain than the one that is followed
    const parent = followed.get(policyStep - 1);
    const child = followed.get(policyStep + 1);
    if (parent !== undefined && parent.policyRoot !== parentOf(manifest)) return ignore('PARENT_UNKNOWN');
    if (child !== undefined && parentOf(child.manifest) !== root) return ignore('PARENT_UNKNOWN');
    const isLinked = followed.size === 0 || parent !== undefined || child !== undefined;
    // [IGNORE] too many wait for a parent
    if (!isLinked && parked.size >= MAX_PARKED) return ignore('PARENT_UNKNOWN');
    return ACCEPT;
  }

  function follow(entry: ChainEntry): void {
    const { policyStep } = entry.manifest;
    parked.delete(policyStep);
    followed.set(policyStep, entry);
    sorted = null;
    stepOfRoot.set(entry.policyRoot, policyStep);
    headStep = Math.max(headStep, policyStep);
    for (const step of [policyStep + 1, policyStep - 1]) {
      const waiting = parked.get(step);
      if (waiting === undefined) continue;
      // Judged anew: now that a neighbour is known it may turn out to be of another chain.
      parked.delete(step);
      stepOfRoot.delete(waiting.policyRoot);
      if (judge(waiting.manifest, waiting.signerKey).answer === 'accept') follow(waiting);
    }
  }

  function endAt(policyStep: number, policyRoots: readonly string[]): void {
    fork = { policyStep, policyRoots };
    letGo((entry) => entry.manifest.policyStep >= policyStep);
  }

  function letGo(isGone: (entry: ChainEntry) => boolean): void {
    for (const map of [followed, parked]) for (const [step, entry] of map) if (isGone(entry)) map.delete(step);
    headStep = Math.max(-1, ...followed.keys());
    sorted = null;
  }

  const settledBefore = (): number => words.at(-1)?.policyStep ?? 0;

  function judgeContinuation(continuation: Continuation): CheckAnswer {
    const known = words.find(({ policyStep }) => policyStep === continuation.policyStep);
    // [IGNORE] not later than what was said of this step
    return known !== undefined && known.timeMs >= continuation.timeMs ? ignore('DUPLICATE') : ACCEPT;
  }

  function continueWith(continuation: Continuation): boolean {
    if (judgeContinuation(continuation).answer !== 'accept') return false;
    const { policyStep } = continuation;
    const others = words.filter((word) => word.policyStep !== policyStep);
    words = [...others, continuation].sort((a, b) => a.policyStep - b.policyStep);
    if (fork !== null && fork.policyStep <= policyStep) fork = null;
    // A step that goes takes those behind it along: they were built on it.
    const refused = [...followed.values(), ...parked.values()]
      .filter((entry) => allowed(entry.manifest, entry.signerKey).answer !== 'accept')
      .map((entry) => entry.manifest.policyStep);
    const first = Math.min(...refused);
    letGo((entry) => entry.manifest.policyStep >= first);
    return true;
  }

  return {
    isUpdate: ({ policyStep, policyRoot }) => known(policyStep)?.policyRoot === toHex(policyRoot),
    judge,
    judgeContinuation,
    continueWith,
    continuations: () => words,
    add(entry) {
      if (judge(entry.manifest, entry.signerKey).answer !== 'accept') return 'refused';
      const { policyStep } = entry.manifest;
      const same = known(policyStep);
      if (same !== undefined && same.policyRoot !== entry.policyRoot) {
        endAt(policyStep, [same.policyRoot, entry.policyRoot]);
        return 'equivocation';
      }
      if (same !== undefined) {
        (followed.has(policyStep) ? followed : parked).set(policyStep, entry);
        sorted = null;
        return 'updated';
      }
      const isLinked = followed.size === 0 || followed.has(policyStep - 1) || followed.has(policyStep + 1);
      if (isLinked) {
        follow(entry);
        return 'followed';
      }
      parked.set(policyStep, entry);
      stepOfRoot.set(entry.policyRoot, policyStep);
      return 'parked';
    },
    head: () => followed.get(headStep) ?? null,
    at: (policyStep) => followed.get(policyStep) ?? null,
    newestFirst() {
      sorted ??= [...followed.values()].sort((a, b) => b.manifest.policyStep - a.manifest.policyStep);
      return sorted;
    },
    equivocation: () => fork,
    hasGap: () => [...parked.keys()].some((step) => step > headStep),
    jump() {
      const beyond = [...parked.keys()].filter((step) => step > headStep);
      if (beyond.length === 0) return false;
      follow(parked.get(Math.min(...beyond))!);
      return true;
    },
  };
}

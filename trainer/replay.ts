// What a group's log-probs really are: recomputed under the policy that sampled it, one prefill a sequence.
// Source: spec/rollouts.md, last paragraph: what enters a loss is the trainer's own recomputation, and the same pass answers
// whether each token was drawn as it had to be. Without `replayConsumed` the claims that a verifier checked are taken.
// Invariant: a group comes out once, either with log-probs for all its sequences or with the reason why not.

import type { GroupBody } from '../node/protocol/body.ts';
import { toHex } from '../node/protocol/bytes.ts';
import type { CheckAnswer } from '../node/protocol/check.ts';
import type { GroupAnnouncement } from '../node/protocol/group.ts';
import type { PolicyChain, PolicyEngine, ReplayedSequence, SamplingSettings } from '../node/protocol/ports.ts';
import type { ReadyGroup } from './entry.ts';

/** Sequences in one call of the engine: bounds what is copied between threads at once. */
const SEQUENCES_A_CALL = 256;

export interface ReplayComponents {
  readonly policies: PolicyEngine;
  readonly chain: PolicyChain;
  /** stage 2 of a group's sequences, as the verifier has it, up to the first rejection; without it nothing is judged */
  readonly checkReplay?:
    | ((
        announcement: GroupAnnouncement,
        body: GroupBody,
        replayed: readonly ReplayedSequence[],
      ) => Promise<readonly CheckAnswer[]>)
    | undefined;
  /** hears of each group that was rejected */
  readonly onRejected?: ((groupId: string, answer: CheckAnswer) => void) | undefined;
}

/** A group and the log-probs of its sequences under the policy that made it. */
export interface LearnGroup extends ReadyGroup {
  readonly logprobsWorker: readonly Float32Array[];
}

export interface RefusedGroup {
  readonly groupId: string;
  readonly state: 'rejected' | 'dropped';
  readonly reason: string;
}

export interface Recomputed {
  readonly groups: readonly LearnGroup[];
  readonly refused: readonly RefusedGroup[];
}

export interface Replays {
  /** @throws {SwarmError} ENGINE_FAILED, INTERRUPTED */
  recompute(groups: readonly ReadyGroup[], signal: AbortSignal): Promise<Recomputed>;
  /** lets go of policies of older steps */
  forgetBefore(policyStep: number): Promise<void>;
}

/** Replays what one recipe’s trainer consumes. */
export function createReplays(
  components: ReplayComponents,
  init: { readonly sampling: SamplingSettings; readonly replayConsumed: boolean },
): Replays {
  const { policies, chain, checkReplay, onRejected } = components;
  const { sampling, replayConsumed } = init;
  /** root to policy step */
  const loaded = new Map<string, number>();

  async function load(policyRoot: string, policyStep: number, signal: AbortSignal): Promise<boolean> {
    if (loaded.has(policyRoot)) return true;
    const files = await chain.files(policyRoot);
    if (files === null) return false;
    await policies.load(files, { signal });
    loaded.set(policyRoot, policyStep);
    return true;
  }

  /** One policy's groups. */
  async function replayAll(groups: readonly ReadyGroup[], signal: AbortSignal): Promise<readonly ReplayedSequence[]> {
    const policyRoot = toHex(groups[0]!.announcement.policyRoot);
    const requests = groups.flatMap(({ body }) =>
      body.sequences.map(({ tokens }) => ({ prompt: body.prompt, tokens })),
    );
    const replayed: ReplayedSequence[] = [];
    for (let at = 0; at < requests.length; at += SEQUENCES_A_CALL) {
      const part = requests.slice(at, at + SEQUENCES_A_CALL);
      replayed.push(...(await policies.replay(policyRoot, sampling, part, signal)));
    }
    return replayed;
  }

  /** The first answer that is not accept, or null. */
  async function judge(group: ReadyGroup, replayed: readonly ReplayedSequence[]): Promise<RefusedGroup | null> {
    const answers = (await checkReplay?.(group.announcement, group.body, replayed)) ?? [];
    for (const answer of answers) {
      if (answer.answer === 'accept') continue;
      const state = answer.answer === 'reject' ? 'rejected' : 'dropped';
      if (state === 'rejected') onRejected?.(group.groupId, answer);
      return { groupId: group.groupId, state, reason: answer.code };
    }
    return null;
  }

  async function recomputeOne(groups: readonly ReadyGroup[], signal: AbortSignal): Promise<Recomputed> {
    const { announcement, policyStep } = groups[0]!;
    if (!(await load(toHex(announcement.policyRoot), policyStep, signal))) {
      const reason = 'POLICY_UNAVAILABLE';
      return { groups: [], refused: groups.map(({ groupId }) => ({ groupId, state: 'dropped', reason })) };
    }
    const replayed = await replayAll(groups, signal);
    const learn: LearnGroup[] = [];
    const refused: RefusedGroup[] = [];
    let taken = 0;
    for (const group of groups) {
      const own = replayed.slice(taken, taken + group.body.sequences.length);
      taken += own.length;
      const refusal = await judge(group, own);
      if (refusal !== null) refused.push(refusal);
      else learn.push({ ...group, logprobsWorker: own.map(({ logprobs }) => logprobs) });
    }
    return { groups: learn, refused };
  }

  return {
    async recompute(groups, signal) {
      if (!replayConsumed) {
        const claimed = (group: ReadyGroup): LearnGroup => ({
          ...group,
          logprobsWorker: group.body.sequences.map(({ logprobs }) => logprobs),
        });
        return { groups: groups.map(claimed), refused: [] };
      }
      const ofPolicy = Map.groupBy(groups, ({ announcement }) => toHex(announcement.policyRoot));
      const parts: Recomputed[] = [];
      for (const part of ofPolicy.values()) parts.push(await recomputeOne(part, signal));
      return { groups: parts.flatMap((part) => part.groups), refused: parts.flatMap((part) => part.refused) };
    },
    async forgetBefore(policyStep) {
      for (const [policyRoot, step] of [...loaded]) {
        if (step >= policyStep) continue;
        loaded.delete(policyRoot);
        await policies.unload(policyRoot);
      }
    },
  };
}

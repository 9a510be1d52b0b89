// The rollout worker: takes the newest policy, fills its slots one after another, announces the groups.
// Source: spec/rollouts.md; how much is wanted: spec/wire.md "Enough, not too much".
// Invariants: a policy never changes inside a group; a group is announced after its body, slot and announcement are on disk,
// in slot order; what was generated but not written is made again, the same, after a restart; steps never go back.

import { shownPrompt } from '../../recipes/prompt.ts';
import type { ResolvedRecipe } from '../../recipes/resolve.ts';
import { type ModelConfig, parseModelConfig } from '../model/config.ts';
import { KEEP_BODY_STEPS } from '../protocol/body-blobs.ts';
import { errorText, isSwarmError, SwarmError } from '../protocol/errors.ts';
import { shareOf } from '../protocol/manifest.ts';
import type {
  BlobStore,
  ChainPolicy,
  Clock,
  Inbox,
  Logger,
  PolicyChain,
  PolicyEngine,
  Prover,
  Records,
  SamplingSettings,
  Startable,
} from '../protocol/ports.ts';
import {
  createGroupMaker,
  type FinishedGroup,
  type GroupMaker,
  type PlannedGroup,
  type RolloutTokenizer,
} from './group.ts';
import { createSlotBook, type SlotBook } from './slots.ts';

/** Groups generated together at first: few, so that a new policy is taken up soon. */
const GROUPS_IN_FLIGHT = 4;
/** Groups announced a second at most: gossip has no back-pressure. */
const MAX_GROUPS_PER_SECOND = 25;
/** How often a worker with nothing to do looks for a new admission. */
const IDLE_MS = 200;
const RETRY_MS = 2_000;
/** Weight of the newest batch in the tokens/s figure. */
const RATE_ALPHA = 0.2;

export interface RolloutWorkerComponents {
  readonly inbox: Inbox;
  readonly blobs: BlobStore;
  readonly chain: PolicyChain;
  readonly engine: PolicyEngine;
  readonly prover: Prover;
  readonly records: Records;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tokenizer: RolloutTokenizer;
}

export interface RolloutWorkerInit {
  readonly recipe: ResolvedRecipe;
  /** multihash of this peer, 38 bytes */
  readonly peerId: Uint8Array;
  readonly groupsInFlight?: number;
  readonly maxGroupsPerSecond?: number;
  /** what a liar of the demo does */
  readonly alterWeights?: { readonly seed: number; readonly scale: number };
  /** told of every announced group */
  readonly onGroup?: (group: AnnouncedGroup) => void;
}

/** A group whose announcement is out. */
export interface AnnouncedGroup extends FinishedGroup {
  readonly groupId: string;
}

export interface RolloutSample {
  readonly groupId: string;
  readonly policyStep: number;
  readonly prompt: string;
  readonly completion: string;
  /** millionths */
  readonly reward: number;
}

export interface RolloutStats {
  /** step of the policy in use, null before the first */
  readonly policyStep: number | null;
  readonly groups: number;
  readonly tokens: number;
  /** of generation, while it generates */
  readonly tokensPerSecond: number;
  readonly lastSample: RolloutSample | null;
  /** what the last failure was, null while all goes well */
  readonly problem: string | null;
  readonly isWaiting: boolean;
}

export interface RolloutWorker extends Startable {
  stats(): RolloutStats;
}

/** A policy in the engine. */
interface LoadedPolicy {
  readonly policyRoot: string;
  readonly config: ModelConfig;
}

/** Slots that this peer may use at a policy's step. */
export function slotsWanted(policy: ChainPolicy, maxSlotsPerStep: number): number {
  return Math.min(maxSlotsPerStep, shareOf(policy));
}

class Worker implements RolloutWorker {
  readonly #components: RolloutWorkerComponents;
  readonly #init: RolloutWorkerInit;
  readonly #maker: GroupMaker;
  readonly #slots: SlotBook;
  readonly #stopping = new AbortController();
  #wake = new AbortController();
  #unlisten: (() => void) | null = null;
  #running: Promise<void> | null = null;
  /** announcements of the batch before, made while the next one is generated */
  #finishing: Promise<void> = Promise.resolve();
  #loaded: LoadedPolicy | null = null;
  /** next slot to plan at `#plannedStep`; ahead of what is on disk by the batches under way */
  #plannedStep = -1;
  #nextSlot = 0;
  #inFlight: number;
  #nextAnnounceMs = 0;
  #stats: RolloutStats = {
    policyStep: null,
    groups: 0,
    tokens: 0,
    tokensPerSecond: 0,
    lastSample: null,
    problem: null,
    isWaiting: true,
  };

  constructor(components: RolloutWorkerComponents, init: RolloutWorkerInit) {
    this.#components = components;
    this.#init = init;
    this.#inFlight = init.groupsInFlight ?? GROUPS_IN_FLIGHT;
    this.#maker = createGroupMaker(components, init);
    this.#slots = createSlotBook(components.records, init.recipe.recipeIdHex);
  }

  async start(): Promise<void> {
    await this.#slots.open();
    this.#plannedStep = this.#slots.lastStep();
    this.#nextSlot = this.#slots.used(this.#plannedStep);
    for (const { policyStep, slot, payload } of await this.#slots.pending()) {
      await this.#components.inbox.publish('group', payload, this.#init.recipe.recipeIdHex);
      await this.#slots.markPublished(policyStep, slot, payload);
    }
    this.#unlisten = this.#components.chain.onReady(() => this.#wake.abort());
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#unlisten?.();
    this.#stopping.abort();
    await this.#running;
  }

  stats(): RolloutStats {
    return this.#stats;
  }

  #note(change: Partial<RolloutStats>): void {
    this.#stats = { ...this.#stats, ...change };
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      this.#wake = new AbortController();
      try {
        const isDone = await this.#makeBatch();
        this.#note({ isWaiting: !isDone, ...(isDone ? { problem: null } : {}) });
        if (!isDone) await this.#rest(IDLE_MS);
      } catch (error) {
        if (this.#stopping.signal.aborted) break;
        await this.#recover(error);
        await this.#rest(RETRY_MS);
      }
    }
    await this.#finishing.catch(() => undefined);
  }

  #rest(ms: number): Promise<void> {
    const signal = AbortSignal.any([this.#stopping.signal, this.#wake.signal]);
    return this.#components.clock.sleep(ms, signal);
  }

  async #recover(error: unknown): Promise<void> {
    this.#components.logger.error({ error: errorText(error) }, 'making rollouts failed; trying again');
    this.#note({ problem: errorText(error), isWaiting: true });
    if (isSwarmError(error, 'OUT_OF_MEMORY_BUDGET')) this.#inFlight = Math.max(1, Math.floor(this.#inFlight / 2));
    if (isSwarmError(error, 'POLICY_NOT_LOADED', 'OUT_OF_MEMORY_BUDGET', 'ENGINE_FAILED')) this.#loaded = null;
    // What was planned behind the last slot on disk is planned again.
    await this.#finishing.catch(() => undefined);
    this.#finishing = Promise.resolve();
    this.#plannedStep = this.#slots.lastStep();
    this.#nextSlot = this.#slots.used(this.#plannedStep);
  }

  /** Generates the next groups of the newest policy. @returns false when there is nothing to do */
  async #makeBatch(): Promise<boolean> {
    const policy = this.#components.chain.ready();
    if (policy === null || policy.closing || policy.policyStep < this.#plannedStep) return this.#idle();
    if (policy.policyStep > this.#plannedStep) await this.#takeUp(policy);
    const limit = slotsWanted(policy, this.#init.recipe.recipe.staleness.maxSlotsPerStep);
    const count = Math.min(this.#inFlight, limit - this.#nextSlot);
    if (count <= 0) return this.#idle();
    const { config } = await this.#load(policy);
    const planned = Array.from({ length: count }, (_, i) => this.#maker.plan({ ...policy, slot: this.#nextSlot + i }));
    const generated = await this.#generate(planned, config);
    this.#nextSlot += count;
    // Proofs and bodies of all at once, before the last batch is out: where strangers keep this thread busy, waits in turn add up
    // (measured under 1 000 hostile messages a second: 0.57 of the quiet rate, and 0.78 like this).
    const finishing = planned.map((each, i) => this.#finish(each, generated[i]!, config.hiddenSize));
    await Promise.allSettled([this.#finishing, ...finishing]); // whichever failed, none is left behind
    await this.#finishing;
    this.#finishing = this.#announceAll(await Promise.all(finishing));
    this.#finishing.catch(() => undefined);
    return true;
  }

  /** Nothing to generate: what is under way is brought to its end, so that its errors are seen. */
  async #idle(): Promise<false> {
    await this.#finishing;
    return false;
  }

  async #takeUp(policy: ChainPolicy): Promise<void> {
    await this.#finishing;
    this.#plannedStep = policy.policyStep;
    this.#nextSlot = this.#slots.used(policy.policyStep);
    const { maxLagSteps } = this.#init.recipe.recipe.staleness;
    const old = await this.#slots.prune(policy.policyStep - maxLagSteps - KEEP_BODY_STEPS);
    for (const hashHex of old) await this.#components.blobs.delete(hashHex);
  }

  async #load(policy: ChainPolicy): Promise<LoadedPolicy> {
    if (this.#loaded?.policyRoot === policy.policyRoot) return this.#loaded;
    const { engine, chain, logger } = this.#components;
    const files = await chain.files(policy.policyRoot);
    if (files === null) {
      throw new SwarmError('POLICY_NOT_LOADED', 'the files of the newest policy are gone; taking the next one', {
        policyStep: policy.policyStep,
      });
    }
    const config = parseModelConfig(JSON.parse(files.configJson));
    const { alterWeights } = this.#init;
    const { signal } = this.#stopping;
    await engine.load(files, { signal, ...(alterWeights === undefined ? {} : { alterWeights }) });
    const before = this.#loaded;
    this.#loaded = { policyRoot: policy.policyRoot, config };
    if (before !== null) await engine.unload(before.policyRoot);
    this.#note({ policyStep: policy.policyStep });
    logger.debug({ policyStep: policy.policyStep, policyRoot: policy.policyRoot }, 'policy taken up');
    return this.#loaded;
  }

  async #generate(
    planned: readonly PlannedGroup[],
    config: ModelConfig,
  ): Promise<Awaited<ReturnType<PolicyEngine['generate']>>> {
    const { engine, clock, tokenizer } = this.#components;
    const { sampling } = this.#init.recipe.recipe;
    const settings: SamplingSettings = { ...sampling, tokenCount: Math.min(tokenizer.vocabSize, config.vocabSize) };
    const startMs = clock.nowMs();
    const groups = await engine.generate(
      planned[0]!.policyRoot,
      settings,
      planned.map(({ request }) => request),
      this.#stopping.signal,
    );
    const tokens = groups.flat().reduce((sum, sequence) => sum + sequence.tokens.length, 0);
    const rate = (1000 * tokens) / Math.max(1, clock.nowMs() - startMs);
    const before = this.#stats.tokensPerSecond;
    this.#note({ tokensPerSecond: before === 0 ? rate : (1 - RATE_ALPHA) * before + RATE_ALPHA * rate });
    return groups;
  }

  /** A group whose body is on disk. */
  async #finish(...made: Parameters<GroupMaker['finish']>): Promise<FinishedGroup> {
    const group = await this.#maker.finish(...made);
    await this.#components.blobs.put(group.body);
    return group;
  }

  async #announceAll(groups: readonly FinishedGroup[]): Promise<void> {
    for (const group of groups) await this.#announce(group);
  }

  /** Slot and announcement to disk, then out. */
  async #announce(group: FinishedGroup): Promise<void> {
    const { inbox, clock } = this.#components;
    const earlyMs = this.#nextAnnounceMs - clock.nowMs();
    if (earlyMs > 0) await clock.sleep(earlyMs, this.#stopping.signal);
    this.#nextAnnounceMs =
      Math.max(clock.nowMs(), this.#nextAnnounceMs) + 1000 / (this.#init.maxGroupsPerSecond ?? MAX_GROUPS_PER_SECOND);
    await this.#slots.write(group.policyStep, group.slot, group.payload);
    const message = await inbox.publish('group', group.payload, this.#init.recipe.recipeIdHex);
    await this.#slots.markPublished(group.policyStep, group.slot, group.payload);
    this.#note({
      groups: this.#stats.groups + 1,
      tokens: this.#stats.tokens + group.tokens,
      lastSample: {
        groupId: message.idHex,
        policyStep: group.policyStep,
        prompt: shownPrompt(group.problem),
        completion: group.completions[0]!,
        reward: group.rewards[0]!,
      },
    });
    this.#init.onGroup?.({ ...group, groupId: message.idHex });
  }
}

/** A worker for one recipe; start it once a policy's tokenizer is here. */
export function createRolloutWorker(components: RolloutWorkerComponents, init: RolloutWorkerInit): RolloutWorker {
  return new Worker(components, init);
}

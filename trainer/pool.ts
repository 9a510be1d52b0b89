// The pool: every announced group on its way to a batch. Announcement, verdict, body, stage 1; then it waits to be chosen.
// Source: spec/grpo.md "Exactly once"; spec/rollouts.md "Order of checks". Whatever ends a group ends it in the ledger.
// Invariants: `ready` holds accepted groups whose body is here, passed stage 1, carries something to learn, and no other;
// verdicts count from verifiers that the recipe names and from ourselves when told so, acceptances also as its rule says.

import { decodeBody, type GroupBody } from '../node/protocol/body.ts';
import { toHex } from '../node/protocol/bytes.ts';
import type { CheckAnswer, CheckCode } from '../node/protocol/check.ts';
import { errorText, isSwarmError } from '../node/protocol/errors.ts';
import type { GroupAnnouncement } from '../node/protocol/group.ts';
import type {
  BlobFetcher,
  BlobStore,
  Clock,
  Inbox,
  Logger,
  PeerIdString,
  SignedMessage,
  Startable,
} from '../node/protocol/ports.ts';
import { decodeVerdict, type Verdict } from '../node/protocol/verdict.ts';
import type { ResolvedRecipe } from '../recipes/resolve.ts';
import { type AcceptanceRule, createAcceptanceRule, type Signer, type VerifierWorth } from './acceptance.ts';
import { type Activity, createActivity } from './activity.ts';
import { createUsefulShare } from './admission.ts';
import { type Arrivals, countArrivals } from './arrivals.ts';
import { countByPeer, lagOf } from './batch.ts';
import { type BodyLanes, createBodyLanes } from './bodies.ts';
import { announcedBy, countedOn, type IsActive } from './counted-on.ts';
import { createEarlyVerdicts } from './early-verdicts.ts';
import { createEndedBodies, type EndedBodies } from './ended-bodies.ts';
import { type Entry, entryOf, type ReadyGroup } from './entry.ts';
import { carriesNothing } from './grpo/advantages.ts';
import {
  type ConsumedRecord,
  type FinalState,
  KEEP_ROW_STEPS,
  type Ledger,
  type LedgerRow,
  wasGood,
} from './ledger.ts';
import { createQuarantine, type Quarantine } from './quarantine.ts';

export interface PoolComponents {
  readonly inbox: Inbox;
  readonly blobs: BlobStore;
  readonly fetcher: BlobFetcher;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly logger: Logger;
  /** stage 1, as the verifier has it */
  readonly checkBody: (announcement: GroupAnnouncement, body: GroupBody) => CheckAnswer;
  /** standing of a verifier inside: whether a peer's groups are not to be consumed at this policy step */
  readonly isQuarantined?: (peer: string, policyStep: number) => boolean;
  /** what another verifier has earned with a verifier inside */
  readonly worthOfVerifier?: (verifier: PeerIdString) => VerifierWorth;
}

export interface PoolInit {
  readonly recipe: ResolvedRecipe;
  /** hex keys, each once, whose verdicts count: those the recipe names, and the trainer's own when it runs a verifier */
  readonly verifiers: readonly string[];
  /** false: groups need no verdict, the trainer's replay is the only check */
  readonly requireVerdict?: boolean;
}

export interface Pool extends Startable {
  ready(): readonly ReadyGroup[];
  /** Puts groups in a batch: they are not ready any more, and verdicts that come later do not end them. */
  take(groups: readonly ReadyGroup[]): void;
  /** Takes back groups of a batch that was not trained on: they are ready again. */
  giveBack(groups: readonly ReadyGroup[]): void;
  /**
   * Groups that may be counted on: not ended, nor about to be, and found good or of an active peer, of whom at most `mostEach`
   * count that were not found good. Everybody's, while no peer is active.
   */
  waiting(mostEach?: number): number;
  /** groups neither ended, ready nor taken: the body is still to come, or a verdict of a named verifier */
  unsettled(): number;
  /** keys with a group of one of the last policy steps that was found good */
  activePeers(policyStep: number): number;
  /**
   * Groups that active peers announced for a policy step so far, ended or not, at most `mostEach` of each. While no peer is active:
   * how many the busiest peer has.
   */
  announcedAt(policyStep: number, mostEach?: number): number;
  /** active peers that announced a group for a policy step */
  announcingPeers(policyStep: number): number;
  usefulShare(): number;
  /**
   * Ends what is too old for the trainer's step, and what quarantined peers sent; deletes old bodies.
   * @param isDurable default true; false: a crash would undo the step, so all that is only left out until it is
   */
  expire(policyStep: number, isDurable?: boolean): Promise<void>;
  finish(groupId: string, state: FinalState, reason?: string | null, trainStep?: number | null): boolean;
  takeArrivals(): Arrivals;
  /** accepted groups that ended untrained since it was last asked */
  takeNotConsumed(): readonly { readonly groupId: string; readonly reason: string }[];
  /** Resolves when something became ready, after `ms`, or when the signal aborts. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

/** @param checkpoint what the newest whole checkpoint says was trained */
export function createPool(components: PoolComponents, init: PoolInit, checkpoint: ConsumedRecord): Pool {
  return new GroupPool(components, init, checkpoint);
}

class GroupPool implements Pool {
  readonly #components: PoolComponents;
  readonly #init: PoolInit;
  readonly #checkpoint: ConsumedRecord;
  readonly #scope: string;
  readonly #entries = new Map<string, Entry>();
  readonly #early = createEarlyVerdicts();
  readonly #activity: Activity;
  readonly #useful = createUsefulShare();
  readonly #arrivals = countArrivals();
  readonly #stopping = new AbortController();
  readonly #unlisten: (() => void)[] = [];
  readonly #bodies: BodyLanes<Entry>;
  readonly #quarantine: Quarantine;
  readonly #rule: AcceptanceRule;
  readonly #endedBodies: EndedBodies;
  #policyStep = 0;
  #notConsumed: { readonly groupId: string; readonly reason: string }[] = [];
  #changed = new AbortController();

  constructor(components: PoolComponents, init: PoolInit, checkpoint: ConsumedRecord) {
    this.#components = components;
    this.#init = init;
    this.#checkpoint = checkpoint;
    this.#scope = init.recipe.recipeIdHex;
    const { verification } = init.recipe.recipe;
    this.#activity = createActivity(init.recipe.recipe.staleness);
    this.#endedBodies = createEndedBodies(components.blobs, init.recipe.recipe.staleness);
    this.#quarantine = createQuarantine(verification);
    this.#rule = createAcceptanceRule(verification.acceptance, init.verifiers, components.worthOfVerifier);
    this.#bodies = createBodyLanes(components, {
      bodyTimeoutMs: init.recipe.recipe.staleness.bodyTimeoutMs,
      isWanted: ({ groupId }) => this.#entries.has(groupId),
      onBytes: (entry, bytes) => this.#takeIn(entry, bytes),
      onMissing: ({ groupId }) => this.finish(groupId, 'dropped', 'BODY_MISSING'),
      onTrouble: (entry, error) => this.#onTrouble(entry, error),
    });
  }

  async start(): Promise<void> {
    const { inbox, ledger } = this.#components;
    await ledger.open(this.#checkpoint);
    for (const row of ledger.rows()) {
      if (row.state !== 'pending') this.#endedBodies.note(row.bodyHash, row.policyStep);
      if (wasGood(row)) this.#activity.note(row.peer, row.policyStep);
    }
    this.#listen('group', (message) => this.#onGroup(message));
    this.#listen('verdict', (message) => this.#onVerdict(message));
    for await (const message of inbox.stored('group', this.#scope)) this.#onGroup(message);
    for await (const message of inbox.stored('verdict', this.#scope)) this.#onVerdict(message);
  }

  #listen(kind: 'group' | 'verdict', take: (message: SignedMessage) => void): void {
    this.#unlisten.push(
      this.#components.inbox.on(kind, (message, scope) => {
        if (scope === this.#scope) take(message);
      }),
    );
  }

  async stop(): Promise<void> {
    for (const unlisten of this.#unlisten) unlisten();
    this.#stopping.abort();
    await this.#bodies.stop();
    await this.#components.ledger.flush();
  }

  #onGroup(message: SignedMessage): void {
    const { ledger } = this.#components;
    const entry = entryOf(message);
    const { groupId, peer, policyStep } = entry;
    const { slot, bodyHash } = entry.announcement;
    ledger.announce({ groupId, peer, policyStep, slot, bodyHash: toHex(bodyHash) });
    if (ledger.get(groupId)?.state !== 'pending' || this.#entries.has(groupId)) return;
    this.#entries.set(groupId, entry);
    if (this.#init.requireVerdict === false) this.#accept(entry);
    for (const { signer, verdict } of this.#early.take(groupId)) this.#judge(entry, signer, verdict);
  }

  #onVerdict(message: SignedMessage): void {
    const signer = { peer: message.peerIdString, key: toHex(message.publicKey) };
    if (this.#rule.weightOf(signer) === 'none' && !this.#isNamed(signer)) return;
    const verdict = decodeVerdict(message.payload);
    const groupId = toHex(verdict.groupId);
    const entry = this.#entries.get(groupId);
    if (entry !== undefined) this.#judge(entry, signer, verdict);
    else if (this.#components.ledger.get(groupId) === undefined) this.#early.keep(groupId, { signer, verdict });
  }

  #isNamed({ key }: Signer): boolean {
    return this.#init.verifiers.includes(key);
  }

  #judge(entry: Entry, signer: Signer, verdict: Verdict): void {
    if (this.#isNamed(signer)) entry.judgedBy.add(signer.key);
    const weight = this.#rule.weightOf(signer);
    if (entry.isTaken || weight === 'none') return;
    if (verdict.answer === 'accept') {
      if (weight === 'full') this.#quarantine.accepted(entry.peer);
      entry.acceptedBy.set(signer.key, signer);
      this.#acceptIfMet(entry);
      return;
    }
    entry.acceptedBy.delete(signer.key);
    if (weight === 'acceptance') return;
    const code = verdict.code ?? 'INTERNAL';
    if (verdict.answer === 'reject') {
      this.#quarantine.rejected(entry.peer, code, entry.policyStep);
      this.#reject(entry, code);
      return;
    }
    entry.ignoredBy.add(signer.key);
    // Nobody is left who could accept it.
    const isLast = this.#rule.isNamedOnly && entry.ignoredBy.size >= this.#init.verifiers.length;
    if (isLast && entry.acceptedMs === null) this.finish(entry.groupId, 'dropped', code);
  }

  #acceptIfMet(entry: Entry): void {
    if (this.#rule.isMet(entry.acceptedBy.values())) this.#accept(entry);
  }

  #reject(entry: Entry, code: CheckCode): void {
    if (this.finish(entry.groupId, 'rejected', code)) this.#useful.add(false);
  }

  #accept(entry: Entry): void {
    if (entry.acceptedMs !== null || !this.#entries.has(entry.groupId)) return;
    entry.acceptedMs = this.#components.clock.nowMs();
    if (this.#isFoundGood(entry)) this.#activity.note(entry.peer, entry.policyStep);
    const { rewards, lengths } = entry.announcement;
    if (this.#init.requireVerdict !== false && carriesNothing(rewards)) {
      this.#arrivals.note(rewards, lengths);
      this.#dropEmpty(entry);
      return;
    }
    this.#bodies.want(entry);
  }

  #dropEmpty(entry: Entry): void {
    this.finish(entry.groupId, 'dropped', 'zeroAdvantage');
    this.#useful.add(false);
  }

  #onTrouble(entry: Entry, error: unknown): void {
    const context = { groupId: entry.groupId, error: errorText(error) };
    if (isSwarmError(error, 'MALFORMED', 'TOO_LARGE')) this.#reject(entry, 'BODY_MALFORMED');
    else if (!this.#stopping.signal.aborted) this.#components.logger.error(context, 'a body was not taken in');
  }

  /** Looks at a body that came; ends the group when it is wrong or teaches nothing. */
  #takeIn(entry: Entry, bytes: Uint8Array): void {
    const body = decodeBody(bytes);
    const answer = this.#components.checkBody(entry.announcement, body);
    if (answer.answer === 'reject') this.#reject(entry, answer.code);
    else if (answer.answer === 'ignore') this.finish(entry.groupId, 'dropped', answer.code);
    else this.#keep(entry, body);
  }

  #keep(entry: Entry, body: GroupBody): void {
    const { rewards, lengths } = entry.announcement;
    this.#arrivals.note(rewards, lengths);
    this.#activity.note(entry.peer, entry.policyStep);
    if (carriesNothing(rewards)) {
      this.#dropEmpty(entry);
      return;
    }
    this.#useful.add(true);
    entry.body = body;
    this.#changed.abort();
  }

  ready(): readonly ReadyGroup[] {
    const isReady = (entry: Entry): entry is Entry & ReadyGroup =>
      entry.body !== null && !entry.isTaken && this.#dueEnd(entry) === null;
    return [...this.#entries.values()].filter(isReady);
  }

  take(groups: readonly ReadyGroup[]): void {
    this.#setTaken(groups, true);
  }

  giveBack(groups: readonly ReadyGroup[]): void {
    this.#setTaken(groups, false);
  }

  #setTaken(groups: readonly ReadyGroup[], isTaken: boolean): void {
    for (const { groupId } of groups) {
      const entry = this.#entries.get(groupId);
      if (entry !== undefined) entry.isTaken = isTaken;
    }
  }

  waiting(mostEach: number = Number.POSITIVE_INFINITY): number {
    const groups = [...this.#entries.values()]
      .filter((entry) => entry.isTaken || this.#dueEnd(entry) === null)
      .map((entry) => ({ peer: entry.peer, isGood: entry.isTaken || this.#isFoundGood(entry) }));
    return countedOn(groups, this.#activeAt(this.#policyStep), mostEach);
  }

  /** A body was seen and passed: by those whose verdicts count, or here. */
  #isFoundGood({ acceptedMs, body }: Entry): boolean {
    return body !== null || (acceptedMs !== null && this.#init.requireVerdict !== false);
  }

  unsettled(): number {
    const { verifiers } = this.#init;
    // What all named verifiers leave open may be accepted by others, or never.
    const isComing = ({ body, isTaken, acceptedMs, judgedBy }: Entry): boolean =>
      body === null && !isTaken && (acceptedMs !== null || judgedBy.size < verifiers.length);
    return [...this.#entries.values()].filter(isComing).length;
  }

  activePeers(policyStep: number): number {
    return this.#activity.count(policyStep, (peer) => this.#isLeftOut(peer, policyStep));
  }

  #isLeftOut(peer: string, policyStep: number): boolean {
    return this.#quarantine.holds(peer, policyStep) || this.#components.isQuarantined?.(peer, policyStep) === true;
  }

  announcedAt(policyStep: number, mostEach: number = Number.POSITIVE_INFINITY): number {
    return announcedBy(this.#rowsAt(policyStep), this.#activeAt(policyStep), mostEach);
  }

  announcingPeers(policyStep: number): number {
    const isActive = this.#activeAt(policyStep);
    return isActive === null ? 0 : [...countByPeer(this.#rowsAt(policyStep)).keys()].filter(isActive).length;
  }

  #rowsAt(policyStep: number): readonly LedgerRow[] {
    return [...this.#components.ledger.rows()].filter((row) => row.policyStep === policyStep);
  }

  #activeAt(policyStep: number): IsActive {
    if (this.activePeers(policyStep) === 0) return null;
    return (peer) => this.#activity.has(peer, policyStep) && !this.#isLeftOut(peer, policyStep);
  }

  usefulShare(): number {
    return this.#useful.value();
  }

  /** How a group is to end at the trainer's step; null while it may be trained on. */
  #dueEnd(entry: Entry): readonly [state: FinalState, reason: string | null] | null {
    if (lagOf(entry, this.#policyStep) > this.#init.recipe.recipe.staleness.maxLagSteps) return ['stale', null];
    return this.#isLeftOut(entry.peer, this.#policyStep) ? ['dropped', 'QUARANTINED'] : null;
  }

  async expire(policyStep: number, isDurable: boolean = true): Promise<void> {
    this.#policyStep = policyStep;
    for (const entry of [...this.#entries.values()]) {
      if (entry.isTaken) continue;
      const end = this.#dueEnd(entry);
      // Who accepted it may have earned enough by now.
      if (end === null) this.#acceptIfMet(entry);
      else if (isDurable) this.finish(entry.groupId, ...end);
    }
    if (!isDurable) return;
    await this.#endedBodies.deleteOld(policyStep);
    const kept = policyStep - this.#init.recipe.recipe.staleness.maxLagSteps - KEEP_ROW_STEPS;
    this.#activity.forget(kept);
    this.#quarantine.forget(kept);
    await this.#components.ledger.fold(kept);
  }

  finish(groupId: string, state: FinalState, reason: string | null = null, trainStep: number | null = null): boolean {
    const entry = this.#entries.get(groupId);
    if (!this.#components.ledger.finish(groupId, state, reason, trainStep)) return false;
    if (entry === undefined) return true;
    this.#entries.delete(groupId);
    this.#endedBodies.note(toHex(entry.announcement.bodyHash), this.#policyStep);
    if (entry.acceptedMs !== null && state !== 'trained') {
      this.#notConsumed.push({ groupId, reason: reason === null ? state : `${state}.${reason}` });
    }
    return true;
  }

  takeArrivals(): Arrivals {
    return this.#arrivals.take();
  }

  takeNotConsumed(): readonly { readonly groupId: string; readonly reason: string }[] {
    const taken = this.#notConsumed;
    this.#notConsumed = [];
    return taken;
  }

  async wait(ms: number, signal: AbortSignal): Promise<void> {
    await this.#components.clock.sleep(ms, AbortSignal.any([signal, this.#stopping.signal, this.#changed.signal]));
    if (this.#changed.signal.aborted) this.#changed = new AbortController();
  }
}

// The chain of policies of one recipe on this machine: manifests followed, weights fetched, checked, kept, deleted.
// Source: spec/shardcast.md. Implements PolicyChain (node/protocol/ports.ts) and stage zero of manifests.
// Invariants: ready() is the newest followed policy whose folder is whole and checked; the last `keepPolicies` policies are
// kept and older ones deleted with their shards; a policy that is not what its manifest says is refused for good.

import { toHex } from '../node/protocol/bytes.ts';
import { type CheckAnswer, ignore, reject } from '../node/protocol/check.ts';
import { type Continuation, decodeContinuation } from '../node/protocol/continuation.ts';
import { type ErrorCode, errorText, isSwarmError, SwarmError } from '../node/protocol/errors.ts';
import { decodeManifest, type Manifest } from '../node/protocol/manifest.ts';
import type {
  BlobFetcher,
  BlobStore,
  ChainPolicy,
  Clock,
  Inbox,
  Logger,
  PolicyChain,
  SignedMessage,
  StageZero,
  Startable,
} from '../node/protocol/ports.ts';
import { assemblePolicy } from './assemble.ts';
import { type ChainEntry, createChainState, type Equivocation } from './chain-state.ts';
import type { ShardFetcher } from './fetch.ts';
import { createKeptManifests } from './kept-manifests.ts';
import { checkManifest, isSizePossible, shardsOf } from './manifest.ts';
import { fetchModel, type Model, modelOf } from './model-texts.ts';
import type { ModelTexts, PolicyFolders } from './policies.ts';
import type { ChainRecipe } from './recipe.ts';
import { weightsSizeOf } from './weights.ts';

const GAP_PATIENCE_MS = 5_000;
const RETRY_MS = 5_000;
const IDLE_MS = 60_000;

/** Faults of what was signed, not of its transport: another try would end the same. */
const REFUSALS: readonly ErrorCode[] = [
  'ROOT_MISMATCH',
  'MANIFEST_INVALID',
  'MODEL_FILE_CORRUPT',
  'MODEL_TENSOR_MISMATCH',
  'NON_FINITE_WEIGHT',
  'UNSUPPORTED_MODEL',
];

export interface PolicyChainComponents {
  readonly inbox: Inbox;
  readonly blobs: BlobStore;
  readonly fetcher: BlobFetcher;
  readonly shards: ShardFetcher;
  readonly policies: PolicyFolders;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface PolicyChainInit {
  readonly recipe: ChainRecipe;
  /** the model's texts when they are here already (a trainer's): nothing is fetched for them then */
  readonly texts?: ModelTexts;
  /** `newest`: older policies that are not here when a newer one is announced are left out */
  readonly follow?: 'all' | 'newest';
  /** how long a manifest waits for the ones between it and the head */
  readonly gapPatienceMs?: number;
  readonly retryMs?: number;
  /** what the recipe's manifests may take on disk */
  readonly maxManifestBytes?: number;
}

/** The author's word on a step, for people. */
export interface ContinuedAt {
  readonly policyStep: number;
  readonly policyRoot: string;
  readonly revokedKeys: readonly string[];
}

export interface ChainStatus {
  readonly announcedStep: number | null;
  readonly readyStep: number | null;
  /** hex root of the policy on its way */
  readonly fetching: string | null;
  readonly equivocation: Equivocation | null;
  /** the newest word of the recipe's author on the chain */
  readonly continuation: ContinuedAt | null;
  /** why the last try to get a policy failed; null when it did not */
  readonly problem: { readonly code: ErrorCode; readonly message: string } | null;
}

export interface PolicyChainService extends PolicyChain, Startable {
  /** cheap checks of a manifest, for the inbox */
  readonly stageZero: StageZero;
  /** cheap checks of a continuation, for the inbox */
  readonly continuationStageZero: StageZero;
  status(): ChainStatus;
}

function toPolicy({ manifest, policyRoot, manifestId }: ChainEntry): ChainPolicy {
  const { policyStep, admission, closing } = manifest;
  return { policyStep, policyRoot, manifestId, ...admission, closing };
}

function continuedAt(word: Continuation | undefined): ContinuedAt | null {
  if (word === undefined) return null;
  const { policyStep, policyRoot, revokedKeys } = word;
  return { policyStep, policyRoot: toHex(policyRoot), revokedKeys: revokedKeys.map(toHex) };
}

/** Follows the policies of one recipe, once started. */
export function createPolicyChain(components: PolicyChainComponents, init: PolicyChainInit): PolicyChainService {
  const { inbox, policies, clock, logger } = components;
  const { recipe, follow = 'all', gapPatienceMs = GAP_PATIENCE_MS, retryMs = RETRY_MS } = init;
  const { keepPolicies } = recipe.recipe.staleness;
  const state = createChainState();
  const manifests = createKeptManifests(components, {
    recipeIdHex: recipe.recipeIdHex,
    maxBytes: init.maxManifestBytes,
  });
  const listeners = new Set<(policy: ChainPolicy) => void>();
  const refused = new Set<string>();
  const cleaned = new Set<number>();
  const stopping = new AbortController();
  let model: Model | null = init.texts === undefined ? null : modelOf(init.texts, recipe.recipe.model);
  let fetching: { readonly entry: ChainEntry; readonly outdated: AbortController } | null = null;
  let problem: ChainStatus['problem'] = null;
  let gapSinceMs: number | null = null;
  let wake = new AbortController();
  let running: Promise<void> | null = null;
  let unlisten: readonly (() => void)[] = [];

  const check = (manifest: Manifest, signerKey: Uint8Array): CheckAnswer =>
    checkManifest(manifest, signerKey, {
      recipeId: recipe.recipeId,
      trainers: recipe.recipe.trainers,
      initialPolicyRoot: recipe.recipe.model.initialPolicyRoot,
      size: model === null ? null : weightsSizeOf(model.config),
    });

  function judge(message: SignedMessage): { readonly answer: CheckAnswer; readonly manifest: Manifest | null } {
    let manifest: Manifest;
    try {
      manifest = decodeManifest(message.payload);
    } catch (error) {
      return { answer: reject(isSwarmError(error, 'TOO_LARGE') ? 'TOO_LARGE' : 'MALFORMED'), manifest: null };
    }
    const answer = check(manifest, message.publicKey);
    if (answer.answer !== 'accept') return { answer, manifest };
    return { answer: state.judge(manifest, toHex(message.publicKey)), manifest };
  }

  function stageZero(message: SignedMessage): CheckAnswer {
    const { answer, manifest } = judge(message);
    if (answer.answer !== 'accept' || manifest === null) return answer;
    // [IGNORE] updates come too fast, or the recipe has said all that is kept of it
    const isHeard = state.isUpdate(manifest) ? manifests.takeUpdate() : manifests.hasRoom(message);
    return isHeard ? answer : ignore('RATE_LIMITED');
  }

  const newestKept = (): readonly ChainEntry[] => state.newestFirst().slice(0, keepPolicies);
  const isHere = ({ policyRoot }: ChainEntry): boolean => policies.has(policyRoot) && !refused.has(policyRoot);
  const readyEntry = (): ChainEntry | null => state.newestFirst().find(isHere) ?? null;

  function take(message: SignedMessage): void {
    const { answer, manifest } = judge(message);
    if (manifest !== null) manifests.keepLatest(message, manifest);
    if (answer.answer !== 'accept' || manifest === null) return;
    const policyRoot = toHex(manifest.policyRoot);
    const added = state.add({
      ...{ manifestId: message.idHex, signer: message.peerIdString, signerKey: toHex(message.publicKey) },
      ...{ manifest, policyRoot },
    });
    const context = { policyStep: manifest.policyStep, policyRoot, added };
    if (added === 'equivocation') logger.warn(context, 'two policies signed for one step; neither is followed');
    else logger.debug(context, 'manifest taken in');
    if (added === 'followed' && policies.has(policyRoot)) announceReady(policyRoot);
    if (added === 'followed') void reconsider();
    gapSinceMs = state.hasGap() ? (gapSinceMs ?? clock.nowMs()) : null;
    // Others delete what is no longer kept: who joins late would wait for ever for the first policy that it heard of.
    const wanted = fetching?.entry.policyRoot;
    if (!newestKept().some((kept) => kept.policyRoot === wanted)) fetching?.outdated.abort();
    wake.abort();
  }

  function judgeWord(message: SignedMessage): { readonly answer: CheckAnswer; readonly word: Continuation | null } {
    let word: Continuation;
    try {
      word = decodeContinuation(message.payload);
    } catch {
      return { answer: reject('MALFORMED'), word: null };
    }
    // [IGNORE] of another recipe, not by its author, or for a key that it does not name
    if (toHex(word.recipeId) !== recipe.recipeIdHex) return { answer: ignore('UNKNOWN_RECIPE'), word };
    if (toHex(message.publicKey) !== recipe.recipe.author) return { answer: ignore('NOT_THE_AUTHOR'), word };
    if (!recipe.recipe.trainers.includes(toHex(word.trainerKey))) return { answer: ignore('NOT_A_TRAINER'), word };
    return { answer: state.judgeContinuation(word), word };
  }

  /** The author has spoken: what fits it is taken in again, from the manifests that are kept. */
  async function takeWord(message: SignedMessage): Promise<void> {
    const { answer, word } = judgeWord(message);
    if (answer.answer !== 'accept' || word === null || !state.continueWith(word)) return;
    const { policyStep } = word;
    logger.warn({ policyStep, policyRoot: toHex(word.policyRoot) }, "going on as the recipe's author says");
    for await (const manifest of inbox.stored('manifest', recipe.recipeIdHex)) take(manifest);
    await reconsider();
    wake.abort();
  }

  /** Groups of a policy may have come before its manifest. */
  async function reconsider(): Promise<void> {
    try {
      await inbox.reconsider(recipe.recipeIdHex);
    } catch (error) {
      logger.error({ error: errorText(error) }, 'parked messages were not looked at again');
    }
  }

  function announceReady(policyRoot: string): void {
    const entry = state.newestFirst().find((each) => each.policyRoot === policyRoot);
    if (entry !== undefined) for (const listener of listeners) listener(toPolicy(entry));
  }

  /** Newest first: what is missing of the policies that are kept. */
  function nextWanted(): ChainEntry | null {
    const kept = state.newestFirst().slice(0, follow === 'newest' ? 1 : keepPolicies);
    const readyStep = readyEntry()?.manifest.policyStep ?? -1;
    return (
      kept.find(
        (entry) =>
          !policies.has(entry.policyRoot) &&
          !refused.has(entry.policyRoot) &&
          (follow === 'all' || entry.manifest.policyStep > readyStep),
      ) ?? null
    );
  }

  async function obtain(entry: ChainEntry, signal: AbortSignal): Promise<void> {
    const { manifest, signer, policyRoot } = entry;
    model ??= await fetchModel(components, manifest, recipe.recipe.model, signer, signal);
    if (!isSizePossible(manifest.full.sizeBytes, weightsSizeOf(model.config))) {
      throw new SwarmError(
        'MANIFEST_INVALID',
        `a policy of ${manifest.full.sizeBytes} bytes is not the recipe's model`,
      );
    }
    await components.shards.fetch(shardsOf(manifest), { signer, signal });
    await assemblePolicy(components, manifest, model);
    announceReady(policyRoot);
  }

  /** Deletes policies that are no longer kept, and shards that no kept one needs. Folders of unknown roots are let be. */
  async function prune(): Promise<void> {
    const entries = state.newestFirst();
    const kept = new Set(entries.slice(0, keepPolicies));
    const ready = readyEntry();
    if (ready !== null) kept.add(ready);
    const needed = new Set([...kept].flatMap(({ manifest }) => shardsOf(manifest).map(({ hashHex }) => hashHex)));
    for (const entry of entries) {
      const { policyStep } = entry.manifest;
      if (kept.has(entry) || cleaned.has(policyStep)) continue;
      cleaned.add(policyStep);
      await policies.remove(entry.policyRoot);
      for (const { hashHex } of shardsOf(entry.manifest))
        if (!needed.has(hashHex)) await components.blobs.delete(hashHex);
    }
  }

  /** What an earlier run left and no manifest names any more. */
  async function removeUnknown(): Promise<void> {
    const known = new Set(state.newestFirst().map(({ policyRoot }) => policyRoot));
    if (known.size === 0) return;
    for (const policyRoot of policies.roots()) if (!known.has(policyRoot)) await policies.remove(policyRoot);
  }

  async function tryObtain(entry: ChainEntry): Promise<void> {
    const outdated = new AbortController();
    const signal = AbortSignal.any([stopping.signal, outdated.signal]);
    fetching = { entry, outdated };
    try {
      await obtain(entry, signal);
      problem = null;
    } catch (error) {
      if (signal.aborted) return;
      const code: ErrorCode = isSwarmError(error) ? error.code : 'INTERNAL';
      problem = { code, message: errorText(error) };
      const context = { policyStep: entry.manifest.policyStep, policyRoot: entry.policyRoot, ...problem };
      if (REFUSALS.includes(code)) {
        refused.add(entry.policyRoot);
        logger.warn(context, 'policy refused: it is not what its manifest says');
      } else {
        logger.warn(context, 'policy could not be fetched; trying again');
        await clock.sleep(retryMs, stopping.signal);
      }
    } finally {
      fetching = null;
    }
  }

  async function rest(): Promise<void> {
    const gapLeftMs = gapSinceMs === null ? IDLE_MS : gapSinceMs + gapPatienceMs - clock.nowMs();
    if (gapLeftMs > 0) {
      await clock.sleep(Math.min(IDLE_MS, gapLeftMs), AbortSignal.any([stopping.signal, wake.signal]));
      return;
    }
    const head = state.head()?.manifest.policyStep ?? null;
    if (state.jump()) void reconsider();
    gapSinceMs = state.hasGap() ? clock.nowMs() : null;
    logger.warn(
      { from: head, to: state.head()?.manifest.policyStep ?? null },
      'the manifests in between were not available',
    );
    const joined = state.head();
    if (joined !== null && policies.has(joined.policyRoot)) announceReady(joined.policyRoot);
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      wake = new AbortController();
      await prune().catch((error: unknown) => logger.warn({ error: errorText(error) }, 'old policies not deleted'));
      const next = nextWanted();
      await (next === null ? rest() : tryObtain(next));
    }
  }

  return {
    async start() {
      await policies.open();
      for await (const message of inbox.stored('continuation', recipe.recipeIdHex)) {
        const { answer, word } = judgeWord(message);
        if (answer.answer === 'accept' && word !== null) state.continueWith(word);
      }
      for await (const message of inbox.stored('manifest', recipe.recipeIdHex)) take(message);
      while (state.jump());
      gapSinceMs = null;
      unlisten = [
        inbox.on('manifest', (message, scope) => {
          if (scope === recipe.recipeIdHex) take(message);
        }),
        inbox.on('continuation', (message, scope) => {
          if (scope !== recipe.recipeIdHex) return;
          takeWord(message).catch((error: unknown) =>
            logger.error({ error: errorText(error) }, "the author's word was not taken in"),
          );
        }),
      ];
      await removeUnknown();
      running = run();
    },
    async stop() {
      for (const end of unlisten) end();
      stopping.abort();
      await running;
    },
    stageZero,
    continuationStageZero: (message) => judgeWord(message).answer,
    announced: () => {
      const head = state.head();
      return head === null ? null : toPolicy(head);
    },
    ready: () => {
      const entry = readyEntry();
      return entry === null ? null : toPolicy(entry);
    },
    at: (policyStep) => {
      const entry = state.at(policyStep);
      return entry === null ? null : toPolicy(entry);
    },
    files: async (policyRoot) => (refused.has(policyRoot) ? null : policies.files(policyRoot)),
    onReady(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    status: () => ({
      announcedStep: state.head()?.manifest.policyStep ?? null,
      readyStep: readyEntry()?.manifest.policyStep ?? null,
      fetching: fetching?.entry.policyRoot ?? null,
      equivocation: state.equivocation(),
      continuation: continuedAt(state.continuations().at(-1)),
      problem,
    }),
  };
}

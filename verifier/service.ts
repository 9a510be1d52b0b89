// The verifier: from an accepted announcement to a signed verdict. Slot order, bodies, stage 1, a secret choice, replay, standing,
// and doubt of what other verifiers say. Source: spec/rollouts.md "Randomness", "Replay", "Order of checks".
// Invariants: every announced group gets exactly one answer here, published once, or waits; a group that is due for a check that was
// not made is never accepted; trouble of our own is `ignore`, never `reject`.

import { type DeletableBlobs, deleteBody, KEEP_BODY_STEPS } from '../node/protocol/body-blobs.ts';
import { type CheckAnswer, ignore } from '../node/protocol/check.ts';
import { errorText } from '../node/protocol/errors.ts';
import type {
  BlobFetcher,
  BlobStore,
  Clock,
  Inbox,
  Logger,
  PeerIdString,
  PolicyChain,
  PolicyEngine,
  Random,
  Records,
  SignedMessage,
  Startable,
} from '../node/protocol/ports.ts';
import type { VerificationLimits } from '../node/protocol/verdict.ts';
import { decodeVerdict } from '../node/protocol/verdict.ts';
import type { ResolvedRecipe } from '../recipes/resolve.ts';
import type { ReplayChecker } from './checker.ts';
import { type BodyContext, limitsOf, type TextCodec } from './checks/subject.ts';
import type { VerifierStats } from './counters.ts';
import { createDoubt, type Doubt, type DoubtStats } from './doubt.ts';
import { WAITING_LIMITS, type WaitingLimits } from './giving-up.ts';
import { createIntake, type Intake } from './intake.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { createRefusedBodies, type RefusedBodies } from './refused-bodies.ts';
import { createReplayLoop, type ReplayLoop } from './replay-loop.ts';
import { createReplayer, type Replayer } from './replayer.ts';
import { createStepSecrets, type StepSecrets } from './secrets.ts';
import { createStanding, type Standing } from './standing.ts';
import { createVerifierStandings, type VerifierStandings } from './verifier-standing.ts';

/** How often time alone is looked at: lag, stalled lanes, secrets to show. */
const TICK_MS = 500;

export interface VerifierComponents {
  readonly inbox: Inbox;
  readonly blobs: BlobFetcher;
  readonly chain: PolicyChain;
  readonly engine: PolicyEngine;
  /** stage 2, off this thread */
  readonly checker: ReplayChecker;
  readonly records: Records;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly tokenizer: TextCodec;
  /** where `blobs` puts what it fetched: bodies are deleted there once they are of no use */
  readonly store: DeletableBlobs & Pick<BlobStore, 'sizeBytes'>;
}

export interface VerifierInit {
  readonly recipe: ResolvedRecipe;
  /** our own peer id: verdicts of an earlier run are found by it */
  readonly peerId: PeerIdString;
  /** rows of the model's embedding */
  readonly modelVocabulary: number;
  /** width of the final-norm states */
  readonly hiddenSize: number;
  /** the recipe's by default */
  readonly limits?: VerificationLimits;
  /** bodies fetched at a time; default 16 */
  readonly maxFetches?: number;
  /** tokens looked at again for another verifier's rejections, a verifier and policy step; default RECHECK_TOKENS */
  readonly recheckTokens?: number;
  /** how much may wait, for bodies and again for replay */
  readonly waitingLimits?: WaitingLimits;
}

export interface Verifier extends Startable {
  stats(): VerifierStats;
  /** the same without a look at every peer */
  figures(): Omit<VerifierStats, 'peers'>;
  readonly standing: Standing;
  /** what other verifiers have earned here */
  readonly verifiers: VerifierStandings;
  /** what another verifier's word is worth now */
  worthOf(verifier: PeerIdString): { readonly standing: number; readonly isSilenced: boolean };
  doubts(): DoubtStats;
  /** the trainer beside it replays all that it consumes: what that rejects counts here, and is told to others */
  refute(groupIdHex: string, answer: CheckAnswer): Promise<void>;
}

/** Wires the parts of one recipe's verifier. */
export function createVerifier(components: VerifierComponents, init: VerifierInit): Verifier {
  const { inbox, chain, clock, logger, records } = components;
  const { recipe } = init;
  const limits = init.limits ?? limitsOf(recipe);
  const context: BodyContext = {
    recipe,
    tokenizer: components.tokenizer,
    modelVocabulary: init.modelVocabulary,
    hiddenSize: init.hiddenSize,
  };
  const settings = { ...recipe.recipe.verification, delta: limits.delta };
  const standing = createStanding({ records }, { scope: recipe.recipeIdHex, settings });
  const secrets = createStepSecrets(components, { recipe });
  const { random } = components;
  const refused = createRefusedBodies(components);
  const ledger = createLedger({ inbox, standing, secrets, chain, random, logger, refused }, { recipe, limits });
  const replayer = createReplayer({ ...components, standing }, { context, limits });
  const waitingLimits = init.waitingLimits ?? WAITING_LIMITS;
  const loop = createReplayLoop({ ledger, replayer, chain, standing, clock, logger }, waitingLimits);
  const intake = createIntake(
    {
      ...{ blobs: components.blobs, store: components.store, clock, logger },
      ledger,
      standing,
      secrets,
      queue: loop.add,
    },
    { context, maxFetches: init.maxFetches ?? 16, limits: waitingLimits },
  );
  const verifiers = createVerifierStandings({ records }, recipe);
  const doubt = createDoubt({ ...components, ledger, replayer, standings: verifiers }, { ...init, context });
  const parts: Parts = { doubt, ...components, refused, ledger, intake, loop, standing, secrets, replayer, init };
  const stopping = new AbortController();
  /** none rejects: what ends one leaves the others, which `stop` waits for */
  let running: readonly Promise<void>[] = [];
  const unlisten: (() => void)[] = [];
  const figures: Verifier['figures'] = () => ({ ...ledger.figures(), backlogTokens: loop.backlogTokens() });

  return {
    standing,
    verifiers,
    doubts: () => doubt.stats(),
    refute: (groupIdHex, answer) => ledger.refute(groupIdHex, answer, 1),
    stats: () => ({ ...figures(), peers: standing.all() }),
    figures,
    worthOf: (verifier) => ({
      standing: verifiers.of(verifier).standing,
      isSilenced: verifiers.isSilenced(verifier, chain.announced()?.policyStep ?? 0),
    }),
    async start() {
      await standing.open();
      await verifiers.open();
      unlisten.push(await doubt.start());
      await recall(parts);
      unlisten.push(
        inbox.on('group', (message, scope) => receive(parts, message, scope)),
        chain.onReady(() => loop.wake()),
      );
      // What came in while we read the past: the ledger knows each id once.
      await recallGroups(parts);
      await ledger.dropQuarantined();
      const { signal } = stopping;
      running = [loop.run(signal), doubt.run(signal), keepTime(parts, signal)].map((part) =>
        part.catch((error: unknown) => logger.error({ error: errorText(error) }, 'verifier stopped working')),
      );
    },
    async stop() {
      stopping.abort();
      intake.stop();
      loop.wake();
      doubt.wake();
      const listeners = unlisten.splice(0).map(async (stop) => stop());
      for (const ended of await Promise.allSettled([...listeners, ...running, intake.idle()])) {
        if (ended.status === 'fulfilled') continue;
        logger.error({ error: errorText(ended.reason) }, 'a part of the verifier did not stop as it should');
      }
    },
  };
}

interface Parts extends VerifierComponents {
  readonly doubt: Doubt;
  readonly refused: RefusedBodies;
  readonly ledger: Ledger;
  readonly intake: Intake;
  readonly loop: ReplayLoop;
  readonly standing: Standing;
  readonly secrets: StepSecrets;
  readonly replayer: Replayer;
  readonly init: VerifierInit;
}

/** Our own verdicts of earlier runs: what was judged is not judged again, and who was caught stays it. */
async function recall({ inbox, ledger, chain, init }: Parts): Promise<void> {
  for await (const message of inbox.stored('verdict', init.recipe.recipeIdHex)) {
    if (message.peerIdString !== init.peerId) continue;
    const verdict = decodeVerdict(message.payload);
    const heldUntilStep = verdict.policyStep + init.recipe.recipe.verification.quarantineSteps;
    if (heldUntilStep >= (chain.announced()?.policyStep ?? 0)) await ledger.recallRejection(verdict);
    if (!isTooOld(chain, init.recipe, verdict.policyStep)) ledger.recall(verdict);
  }
}

/** Announcements of earlier runs, oldest first. */
async function recallGroups(parts: Parts): Promise<void> {
  const scope = parts.init.recipe.recipeIdHex;
  for await (const message of parts.inbox.stored('group', scope)) receive(parts, message, scope);
}

function receive(
  { ledger, intake, clock, chain, logger, init }: Parts,
  message: SignedMessage,
  scope: string | null,
): void {
  if (scope !== init.recipe.recipeIdHex) return;
  try {
    const received = ledger.announce(message, clock.nowMs());
    if (received === null) return;
    if (received.kind === 'judged') intake.resume(received.job, received.answer);
    else if (isTooOld(chain, init.recipe, received.job.announcement.policyStep)) ledger.forget(received.job);
    else intake.add(received.job);
  } catch (error) {
    logger.error({ group: message.idHex, error: errorText(error) }, 'announcement could not be taken in');
  }
}

function isTooOld(chain: PolicyChain, recipe: ResolvedRecipe, policyStep: number): boolean {
  return (chain.announced()?.policyStep ?? 0) - policyStep > recipe.recipe.staleness.maxLagSteps;
}

/** Everything that happens because time passes or the chain grows. */
async function keepTime(parts: Parts, signal: AbortSignal): Promise<void> {
  const { chain, clock, logger, secrets } = parts;
  let lastStep = -1;
  let notChecked = 0;
  while (!signal.aborted) {
    try {
      parts.intake.closeStalled();
      const step = chain.announced()?.policyStep ?? -1;
      if (step >= 0 && step !== lastStep) {
        notChecked = tellOverload(parts, notChecked);
        // The hash of the next step's secret is out before that step opens.
        await secrets.commit(step);
        await secrets.commit(step + 1);
        await leaveBehind(parts, step - parts.init.recipe.recipe.staleness.maxLagSteps);
        lastStep = step;
      }
    } catch (error) {
      logger.error({ error: errorText(error) }, 'verifier upkeep failed; it is tried again');
    }
    await clock.sleep(TICK_MS, signal);
  }
}

/** Says once a step that more came than could be checked. @returns what was not checked so far */
function tellOverload({ ledger, loop, logger }: Parts, before: number): number {
  const { notChecked, tokensPerSecond } = ledger.figures();
  if (notChecked > before) {
    const figures = { groups: notChecked - before, backlogTokens: loop.backlogTokens(), tokensPerSecond };
    logger.warn(figures, 'groups were not checked: work comes faster than this verifier replays it');
  }
  return notChecked;
}

/** Steps before `oldest` have left maxLag: what waits is ignored, secrets are shown, memory and bodies are let go. */
async function leaveBehind(parts: Parts, oldest: number): Promise<void> {
  const { ledger, intake, chain, secrets, replayer, doubt, store, refused } = parts;
  for (const job of ledger.waiting()) {
    if (job.announcement.policyStep >= oldest || job.state === 'replaying') continue;
    const answer: CheckAnswer = job.body === null ? ignore('TOO_OLD') : ignore('NOT_CHECKED');
    await ledger.close(job, answer, 0);
  }
  intake.forgetBefore(oldest);
  for (const { bodyHash } of ledger.forgetBefore(oldest - KEEP_BODY_STEPS)) {
    refused.forget(bodyHash);
    await deleteBody(store, bodyHash);
  }
  await secrets.showBefore(oldest);
  await parts.standing.forgetIdle();
  await doubt.forgetBefore(oldest);
  const wanted = new Set<string>();
  const newest = chain.announced()?.policyStep ?? oldest;
  for (let step = Math.max(0, oldest); step <= newest; step++) {
    const policy = chain.at(step);
    if (policy !== null) wanted.add(policy.policyRoot);
  }
  await replayer.keepOnly((root) => wanted.has(root));
}

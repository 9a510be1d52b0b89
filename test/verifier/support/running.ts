// A verifier with memory ports around it, and peers that announce to it.

import { toHex } from '../../../node/protocol/bytes.ts';
import type { CheckAnswer } from '../../../node/protocol/check.ts';
import { createKeyPair, type KeyPair } from '../../../node/protocol/keys.ts';
import type { BlobStore, PeerIdString, PolicyEngine, Random, Records } from '../../../node/protocol/ports.ts';
import { decodeVerdict, type Verdict } from '../../../node/protocol/verdict.ts';
import type { ReplayChecker } from '../../../verifier/checker.ts';
import { judgeReplays } from '../../../verifier/checks/stage-two.ts';
import {
  createGroupStageZero,
  createSecretStageZero,
  createStepPlaces,
  createVerdictStageZero,
} from '../../../verifier/checks/stage-zero.ts';
import type { BodyContext } from '../../../verifier/checks/subject.ts';
import type { WaitingLimits } from '../../../verifier/giving-up.ts';
import { createVerifier, type Verifier } from '../../../verifier/service.ts';
import { type FakeClock, fakeClock } from '../../support/fake-clock.ts';
import { type MemoryFetcher, memoryFetcher } from '../../support/memory-fetcher.ts';
import { type MemoryInbox, memoryInbox } from '../../support/memory-inbox.ts';
import { memoryBlobs, memoryRecords } from '../../support/memory-store.ts';
import { type LogLine, recordingLogger } from '../../support/silent-logger.ts';
import { type ScriptedEngine, scriptedEngine, scriptedPolicy } from './scripted-policy.ts';
import { type MadeGroup, type TestChain, testChain, testContext } from './swarm.ts';

/** What survives a restart. */
export interface Disk {
  readonly keyPair: KeyPair;
  readonly messages: NonNullable<Parameters<typeof memoryInbox>[1]>;
  readonly records: Records;
}

export interface Running {
  readonly context: BodyContext;
  readonly verifier: Verifier;
  readonly inbox: MemoryInbox;
  readonly engine: ScriptedEngine;
  readonly chain: TestChain;
  readonly clock: FakeClock;
  readonly fetcher: MemoryFetcher;
  /** where the fetcher puts what it got */
  readonly store: BlobStore;
  readonly lines: readonly LogLine[];
  readonly disk: Disk;
  /** announces a group, its body to be had unless told otherwise */
  announce(group: MadeGroup, options?: { readonly withBody?: boolean }): Promise<CheckAnswer>;
  /** makes a body available */
  give(group: MadeGroup): Promise<void>;
  /** lets everything happen that needs no time, then moves the clock */
  settle(ms?: number): Promise<void>;
  /** its last own verdict on a group: `accept`, or answer and code */
  verdictOn(group: MadeGroup): string | null;
  verdictsOn(group: MadeGroup): readonly Verdict[];
  stop(): Promise<void>;
}

export function newDisk(): Disk {
  return { keyPair: createKeyPair(), messages: [], records: memoryRecords() };
}

/** Starts a verifier of the test recipe. */
export async function startVerifier(
  options: {
    readonly context?: BodyContext;
    readonly disk?: Disk;
    readonly chain?: TestChain;
    /** the verifier's own view of the weights */
    readonly policyOf?: Parameters<typeof scriptedEngine>[0];
    /** instead of the scripted one */
    readonly realEngine?: PolicyEngine;
    /** default: stage 2 in this thread */
    readonly checker?: ReplayChecker;
    readonly recheckTokens?: number;
    /** default: the machine's */
    readonly random?: Random;
    readonly waitingLimits?: WaitingLimits;
    /** of a step, for strangers and again for known peers */
    readonly places?: number;
  } = {},
): Promise<Running> {
  const context = options.context ?? testContext();
  const disk = options.disk ?? newDisk();
  const chain = options.chain ?? testChain();
  const inbox = memoryInbox(disk.keyPair, disk.messages);
  const clock = fakeClock();
  const source = memoryBlobs();
  const store = memoryBlobs();
  const fetcher = memoryFetcher(store);
  fetcher.peers.set('everybody' as PeerIdString, { blobs: source });
  const engine = scriptedEngine(options.policyOf ?? scriptedPolicy);
  const { logger, lines } = recordingLogger();
  const verifier = createVerifier(
    {
      inbox,
      blobs: fetcher,
      store,
      chain,
      engine: options.realEngine ?? engine,
      checker: options.checker ?? { check: async (subjects) => judgeReplays(subjects) },
      records: disk.records,
      clock,
      random: options.random ?? { bytes: (count) => crypto.getRandomValues(new Uint8Array(count)) },
      logger,
      tokenizer: context.tokenizer,
    },
    {
      recipe: context.recipe,
      peerId: disk.keyPair.peerIdString,
      modelVocabulary: context.modelVocabulary,
      hiddenSize: context.hiddenSize,
      ...(options.recheckTokens === undefined ? {} : { recheckTokens: options.recheckTokens }),
      ...(options.waitingLimits === undefined ? {} : { waitingLimits: options.waitingLimits }),
    },
  );
  const scope = context.recipe.recipeIdHex;
  const places = createStepPlaces(options.places);
  const view = {
    recipe: (id: string) => (id === scope ? { resolved: context.recipe, open: true, chain, places } : null),
    isQuarantined: (_: string, peer: string, step: number) => verifier.standing.isQuarantined(peer, step),
    isKnown: (_: string, peer: string) => verifier.standing.isKnown(peer),
    isKnownVerifier: (_: string, peer: string) => !verifier.verifiers.isStranger(peer as PeerIdString),
    nowMs: clock.nowMs,
  };
  inbox.stageZero.group = createGroupStageZero(view);
  inbox.stageZero.verdict = createVerdictStageZero(view);
  inbox.stageZero.secret = createSecretStageZero(view);
  await verifier.start();

  const verdictsOn = (group: MadeGroup): readonly Verdict[] =>
    disk.messages
      .filter(({ message }) => message.kind === 'verdict' && message.peerIdString === disk.keyPair.peerIdString)
      .map(({ message }) => decodeVerdict(message.payload))
      .filter((verdict) => toHex(verdict.groupId) === group.message.idHex);
  const running: Running = {
    context,
    verifier,
    inbox,
    engine,
    chain,
    clock,
    fetcher,
    store,
    lines,
    disk,
    async announce(group, { withBody = true } = {}) {
      if (withBody) await source.put(group.bytes);
      return await inbox.deliver(group.message, scope);
    },
    give: async (group) => void (await source.put(group.bytes)),
    async settle(ms = 0) {
      for (let i = 0; i < 40; i++) await new Promise((resolve) => setImmediate(resolve));
      if (ms > 0) await clock.advance(ms);
      for (let i = 0; i < 40; i++) await new Promise((resolve) => setImmediate(resolve));
    },
    verdictsOn,
    verdictOn(group) {
      const last = verdictsOn(group).at(-1);
      if (last === undefined) return null;
      return last.code === null ? last.answer : `${last.answer} ${last.code}`;
    },
    stop: () => verifier.stop(),
  };
  return running;
}

/** The sum that must always add up. */
export function accountsFor(verifier: Verifier): { readonly announced: number; readonly sum: number } {
  const { announced, accepted, rejected, ignored, waiting } = verifier.stats();
  const total = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((a, b) => a + b, 0);
  return { announced, sum: accepted + total(rejected) + total(ignored) + waiting };
}

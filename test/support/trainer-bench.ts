// A trainer over memory ports: groups announced and judged by hand, scripted engines, a disk that outlives its processes.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseModelConfig } from '../../node/model/config.ts';
import { encodeBody, type GroupBody } from '../../node/protocol/body.ts';
import { fromHex, sha256, toHex } from '../../node/protocol/bytes.ts';
import { ACCEPT, type CheckAnswer, type CheckCode } from '../../node/protocol/check.ts';
import { encodeGroup } from '../../node/protocol/group.ts';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import type { Clock, SignedMessage } from '../../node/protocol/ports.ts';
import { encodeVerdict } from '../../node/protocol/verdict.ts';
import { type ResolvedRecipe, resolveRecipe } from '../../recipes/resolve.ts';
import { canonicalRecipe, parseRecipe, type RecipeSource } from '../../recipes/schema.ts';
import type { StepMetrics } from '../../trainer/metrics.ts';
import { createTrainer, type Trainer } from '../../trainer/trainer.ts';
import type { PolicyPublisher, TrainerComponents, TrainerInit } from '../../trainer/trainer-ports.ts';
import { type FixedChain, fixedChain } from './fixed-chain.ts';
import { memoryFetcher } from './memory-fetcher.ts';
import { type MemoryInbox, memoryInbox, signAs } from './memory-inbox.ts';
import { memoryBlobs, memoryRecords } from './memory-store.ts';
import { madeUpHex, shippedSource } from './recipe-sources.ts';
import { type ScriptedEngine, scriptedEngine } from './scripted-engine.ts';
import {
  type ScriptedTrainingEngine,
  scriptedTrainingEngine,
  snapshotOf,
  type TrainingDisk,
} from './scripted-training-engine.ts';
import { silentLogger as logger } from './silent-logger.ts';

export const CONFIG_JSON: string = readFileSync(join(import.meta.dirname, '../../recipes/starter/config.json'), 'utf8');
const HIDDEN = 8;
export const GROUP_SIZE = 4;

export const VERIFIER: KeyPair = createKeyPair();

/** A small recipe: 3 groups of 4 a step, updates of 6 sequences, groups at most 2 steps old. */
export function trainerRecipe(changed: RecipeSource = {}): ResolvedRecipe {
  const source = shippedSource('arrows', {
    groupSize: GROUP_SIZE,
    grpo: { promptsPerStep: 3, sequencesPerUpdate: 6, maxUpdatesPerStep: 2, learningRate: 1e-5 },
    staleness: { maxLagSteps: 2, keepPolicies: 3, maxStepWaitMs: 60_000, bodyTimeoutMs: 5_000 },
    ...changed,
  });
  const verification = { ...(changed['verification'] as RecipeSource), verifiers: [toHex(VERIFIER.publicKey)] };
  return resolveRecipe(parseRecipe(canonicalRecipe({ ...source, verification })));
}

const DEFAULT_RECIPE = trainerRecipe();
const TRAINER = createKeyPair();

/** What outlives a process. */
export interface TrainerDisk extends TrainingDisk {
  readonly records: ReturnType<typeof memoryRecords>;
  readonly blobs: ReturnType<typeof memoryBlobs>;
  readonly stored: NonNullable<Parameters<typeof memoryInbox>[1]>;
  /** step to root: what the world has seen */
  readonly published: Map<number, string>;
  readonly chain: FixedChain;
  readonly keyPair: KeyPair;
}

export function newTrainerDisk(): TrainerDisk {
  return {
    checkpoints: [],
    records: memoryRecords(),
    blobs: memoryBlobs(),
    stored: [],
    published: new Map(),
    chain: fixedChain(CONFIG_JSON),
    keyPair: TRAINER,
  };
}

export interface GroupSpec {
  readonly peer: KeyPair;
  readonly policyStep: number;
  readonly slot: number;
  /** millionths; default one right of four */
  readonly rewards?: readonly number[];
  /** default: as the chain has it */
  readonly policyRoot?: string;
}

export interface TrainerBench {
  readonly trainer: Trainer;
  readonly engine: ScriptedTrainingEngine;
  readonly policies: ScriptedEngine;
  readonly inbox: MemoryInbox;
  readonly disk: TrainerDisk;
  readonly recipe: ResolvedRecipe;
  readonly steps: StepMetrics[];
  /** announcements out of askForMore and close */
  readonly announced: { readonly wantGroups: number | null; readonly closing: boolean }[];
  announce(spec: GroupSpec): Promise<SignedMessage>;
  judge(group: SignedMessage, answer: 'accept' | 'ignore' | 'reject', code?: CheckCode, by?: KeyPair): Promise<void>;
  /** announces and accepts */
  accepted(spec: GroupSpec): Promise<SignedMessage>;
}

export interface BenchInit extends Partial<TrainerInit> {
  readonly disk?: TrainerDisk;
  readonly clock?: Clock;
  /** ports to put around the real ones, such as those that crash */
  readonly around?: (components: TrainerComponents) => TrainerComponents;
  readonly components?: Partial<TrainerComponents>;
}

const realClock: Clock = {
  nowMs: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) return resolve();
      const timer = setTimeout(resolve, Math.min(ms, 10));
      signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    }),
};

/** Bodies whose tokens tell the group: no two groups share a sequence. */
function bodyOf(peerId: Uint8Array, { policyStep, slot }: GroupSpec): GroupBody {
  const mark = [...sha256(peerId).subarray(0, 3), policyStep, slot];
  return {
    prompt: Uint32Array.of(3, 4, 5),
    sequences: Array.from({ length: GROUP_SIZE }, (_, i) => ({
      tokens: Uint32Array.of(...mark, i, 1),
      logprobs: new Float32Array(mark.length + 2).fill(-0.1),
      finish: 'eos' as const,
      proofs: new Uint8Array(0),
    })),
  };
}

function memoryPublisher(disk: TrainerDisk, announced: TrainerBench['announced']): PolicyPublisher {
  let last = -1;
  return {
    async publish({ policyStep, weights, parentRoot, admission }) {
      const root = toHex(sha256(weights));
      const seen = disk.published.get(policyStep);
      if (seen !== undefined && seen !== root) throw new Error(`equivocation at step ${policyStep}`);
      if (policyStep > 0 && disk.published.get(policyStep - 1) !== parentRoot) throw new Error('a wrong parent');
      disk.published.set(policyStep, root);
      last = policyStep;
      disk.chain.set(policyStep, { policyRoot: root, ...admission });
      return { policyRoot: root };
    },
    async announce({ admission, closing }) {
      announced.push({ wantGroups: admission?.wantGroups ?? null, closing: closing ?? false });
      if (last >= 0) disk.chain.set(last, { ...disk.chain.at(last), ...admission, closing: closing ?? false });
      return null;
    },
  };
}

export function trainerBench(init: BenchInit = {}): TrainerBench {
  const { disk = newTrainerDisk(), clock = realClock, around = (same) => same, components = {}, ...rest } = init;
  const recipe = rest.recipe ?? DEFAULT_RECIPE;
  const scope = recipe.recipeIdHex;
  const inbox = memoryInbox(disk.keyPair, disk.stored);
  const engine = scriptedTrainingEngine(disk);
  const policies = scriptedEngine(HIDDEN);
  const fetcher = memoryFetcher(disk.blobs);
  const steps: StepMetrics[] = [];
  const announced: TrainerBench['announced'] = [];
  const config = parseModelConfig({
    architectures: ['LlamaForCausalLM'],
    hidden_size: HIDDEN,
    intermediate_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    vocab_size: 512,
  });
  const trainer = createTrainer(
    around({
      inbox,
      blobs: disk.blobs,
      fetcher,
      chain: disk.chain,
      publisher: memoryPublisher(disk, announced),
      engine,
      policies,
      records: disk.records,
      clock,
      logger,
      checkBody: (): CheckAnswer => ACCEPT,
      ...components,
    }),
    {
      recipe,
      sampling: { ...recipe.recipe.sampling, tokenCount: config.vocabSize },
      checkpointDir: '/nowhere',
      onStep: (metrics) => void steps.push(metrics),
      ...rest,
    },
  );

  async function announce(spec: GroupSpec): Promise<SignedMessage> {
    const { peerId } = spec.peer;
    const body = encodeBody(bodyOf(peerId, spec));
    await disk.blobs.put(body);
    const payload = encodeGroup({
      recipeId: recipe.recipeId,
      policyStep: spec.policyStep,
      policyRoot: fromHex(spec.policyRoot ?? disk.chain.at(spec.policyStep)?.policyRoot ?? madeUpHex('nowhere')),
      peerId,
      slot: spec.slot,
      rewards: spec.rewards ?? [1_000_000, 0, 0, 0],
      lengths: Array.from({ length: GROUP_SIZE }, () => 7),
      bodyHash: sha256(body),
      bodyBytes: body.length,
    });
    const message = signAs(spec.peer, 'group', payload);
    await inbox.deliver(message, scope);
    return message;
  }

  async function judge(
    group: SignedMessage,
    answer: 'accept' | 'ignore' | 'reject',
    code: CheckCode = 'REPLAY_MISMATCH',
    by: KeyPair = VERIFIER,
  ): Promise<void> {
    const { delta, maxLogprobDrift, maxMeanLogprobDrift, toploc } = recipe.recipe.verification;
    const payload = encodeVerdict({
      recipeId: recipe.recipeId,
      policyStep: 0,
      groupId: group.id,
      peerId: group.peerId,
      slot: 0,
      answer,
      code: answer === 'accept' ? null : code,
      limits: { delta, maxLogprobDrift, maxMeanLogprobDrift, ...toploc },
      secretHash: sha256('secret'),
      sequencesReplayed: 1,
    });
    await inbox.deliver(signAs(by, 'verdict', payload), scope);
  }

  return {
    trainer,
    engine,
    policies,
    inbox,
    disk,
    recipe,
    steps,
    announced,
    announce,
    judge,
    async accepted(spec) {
      const message = await announce(spec);
      await judge(message, 'accept');
      return message;
    },
  };
}

/** Root of the starting weights. */
export const START_ROOT: string = toHex(snapshotOf([]).policyRoot);

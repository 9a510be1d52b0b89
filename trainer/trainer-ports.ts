// What a trainer is given: services as ports, and what its user tunes.

import type { GroupBody } from '../node/protocol/body.ts';
import type { CheckAnswer } from '../node/protocol/check.ts';
import type { GroupAnnouncement } from '../node/protocol/group.ts';
import type { Admission, TrainingRecord } from '../node/protocol/manifest.ts';
import type {
  BlobFetcher,
  BlobStore,
  Clock,
  Inbox,
  Logger,
  PeerIdString,
  PolicyChain,
  PolicyEngine,
  Records,
  SamplingSettings,
} from '../node/protocol/ports.ts';
import type { ResolvedRecipe } from '../recipes/resolve.ts';
import type { VerifierWorth } from './acceptance.ts';
import type { TrainingEngine } from './engine/engine.ts';
import type { StepMetrics } from './metrics.ts';
import type { ReplayComponents } from './replay.ts';

/** How weights leave; shardcast's publisher is one. */
export interface PolicyPublisher {
  /** Stores and announces; null when the weights are the parent's. The same policy may be published again. */
  publish(policy: {
    readonly policyStep: number;
    /** hex; null exactly at step 0 */
    readonly parentRoot: string | null;
    /** safetensors in bf16 */
    readonly weights: Uint8Array;
    readonly admission: Admission;
    readonly record: TrainingRecord | null;
  }): Promise<{ readonly policyRoot: string } | null>;
  /** Announces the last one again. */
  announce(change: { readonly admission?: Admission; readonly closing?: boolean }): Promise<unknown>;
}

export interface TrainerComponents {
  readonly inbox: Inbox;
  readonly blobs: BlobStore;
  readonly fetcher: BlobFetcher;
  /** started before the trainer, so that it knows what was published */
  readonly chain: PolicyChain;
  readonly publisher: PolicyPublisher;
  readonly engine: Pick<
    TrainingEngine,
    'logprobs' | 'update' | 'rehearse' | 'policy' | 'saveCheckpoint' | 'restore' | 'interrupt'
  >;
  /** replays groups under the policies that made them */
  readonly policies: PolicyEngine;
  readonly records: Records;
  readonly clock: Clock;
  readonly logger: Logger;
  /** stage 1 of the verifier */
  readonly checkBody: (announcement: GroupAnnouncement, body: GroupBody) => CheckAnswer;
  /** stage 2 of the verifier */
  readonly checkReplay?: ReplayComponents['checkReplay'];
  readonly onRejected?: ReplayComponents['onRejected'];
  /** standing, from the verifier inside */
  readonly isQuarantined?: (peer: string, policyStep: number) => boolean;
  /** what another verifier has earned with the verifier inside */
  readonly worthOfVerifier?: (verifier: PeerIdString) => VerifierWorth;
}

export interface TrainerInit {
  readonly recipe: ResolvedRecipe;
  readonly sampling: SamplingSettings;
  /** folder of this recipe's checkpoints */
  readonly checkpointDir: string;
  /** the trainer's own key (hex) when it runs a verifier: its verdicts count as those of verifiers the recipe names */
  readonly ownVerifier?: string;
  /** false: no verdict is waited for, the trainer's own replay is the only check; default true */
  readonly requireVerdict?: boolean;
  /** policy steps after which to stop; default the recipe's */
  readonly maxSteps?: number;
  /** batches that are full, of groups that are all settled (gather.ts says what that repeats); default false */
  readonly deterministic?: boolean;
  /** told of every step, and waited for */
  readonly onStep?: (metrics: StepMetrics) => void | Promise<void>;
}

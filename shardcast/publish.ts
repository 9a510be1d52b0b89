// The trainer's side of shardcast: weights become shards, shards are stored, then the manifest is announced
// (spec/shardcast.md "What is published"). An Encoding is the seam for deltas; `full` is the only one so far.
// Invariants: whatever a manifest names is in the blob store before the manifest is signed; the same weights give the same
// root and shards, so publishing again after a crash is no equivocation; a step that changed no bf16 bit is not published.

import type { BlobRef } from '../node/protocol/blob-ref.ts';
import { fromHex, toHex } from '../node/protocol/bytes.ts';
import { SwarmError } from '../node/protocol/errors.ts';
import {
  type Admission,
  encodeManifest,
  type FullEncoding,
  type Manifest,
  type TrainingRecord,
} from '../node/protocol/manifest.ts';
import type { BlobStore, Clock, Inbox, Logger, SignedMessage } from '../node/protocol/ports.ts';
import { type Model, modelOf } from './model-texts.ts';
import type { ModelTexts, PolicyFolders } from './policies.ts';
import type { ChainRecipe } from './recipe.ts';
import { rootOfWeights } from './weights.ts';

/** Source: spec/shardcast.md. */
const SHARD_BYTES = 4 * 1024 * 1024;

export interface PublisherComponents {
  readonly inbox: Inbox;
  readonly blobs: BlobStore;
  /** shared with the trainer's own chain: what is published is ready there at once */
  readonly policies: PolicyFolders;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface PublisherInit {
  readonly recipe: ChainRecipe;
  readonly texts: ModelTexts;
  readonly shardBytes?: number;
}

/** One policy to publish. */
export interface PolicyToPublish {
  readonly policyStep: number;
  /** hex; null exactly at step 0 */
  readonly parentRoot: string | null;
  /** a safetensors file in bf16 */
  readonly weights: Uint8Array;
  readonly admission: Admission;
  readonly record: TrainingRecord | null;
}

export interface Published {
  readonly policyStep: number;
  /** hex */
  readonly policyRoot: string;
  readonly manifestId: string;
}

export interface Publisher {
  /**
   * Stores shards and policy, then announces. Null when the weights are the parent's: nothing is published then.
   * @throws {SwarmError} MANIFEST_INVALID, MODEL_TENSOR_MISMATCH, NON_FINITE_WEIGHT, DISK_FULL, DISK_BUDGET
   */
  publish(policy: PolicyToPublish): Promise<Published | null>;
  /** Announces the last published policy again, with another admission or as the recipe's last. */
  announce(change: { readonly admission?: Admission; readonly closing?: boolean }): Promise<Published | null>;
}

/** Stores weights in some form that a manifest can name. */
type Encoding = (blobs: BlobStore, weights: Uint8Array, shardBytes: number) => Promise<FullEncoding>;

/** The whole file, cut. */
const full: Encoding = async (blobs, weights, shardBytes) => {
  const shardHashes: Uint8Array[] = [];
  for (let offset = 0; offset < weights.length; offset += shardBytes) {
    const shard = weights.subarray(offset, offset + shardBytes);
    shardHashes.push(fromHex(await blobs.put(shard), 32));
  }
  return { sizeBytes: weights.length, shardBytes, shardHashes };
};

async function putText(blobs: BlobStore, bytes: Uint8Array): Promise<BlobRef> {
  return { hash: fromHex(await blobs.put(bytes), 32), sizeBytes: bytes.length };
}

/** @throws {SwarmError} MANIFEST_INVALID when the texts are not of the recipe's model */
export function createPublisher(components: PublisherComponents, init: PublisherInit): Publisher {
  const { inbox, blobs, policies, clock, logger } = components;
  const { recipe, shardBytes = SHARD_BYTES } = init;
  const model: Model = modelOf(init.texts, recipe.recipe.model);
  let last: Manifest | null = null;

  async function announce(manifest: Manifest): Promise<Published> {
    const message: SignedMessage = await inbox.publish('manifest', encodeManifest(manifest), recipe.recipeIdHex);
    last = manifest;
    return { policyStep: manifest.policyStep, policyRoot: toHex(manifest.policyRoot), manifestId: message.idHex };
  }

  return {
    async publish(policy) {
      const policyRoot = await rootOfWeights(policy.weights, model.config);
      if (policyRoot === policy.parentRoot) return null;
      if (policy.policyStep === 0 && policyRoot !== recipe.recipe.model.initialPolicyRoot) {
        throw new SwarmError(
          'MANIFEST_INVALID',
          `the model has root ${policyRoot}, the recipe starts from ${recipe.recipe.model.initialPolicyRoot}; use its model`,
          { policyRoot },
        );
      }
      const encoded = await full(blobs, policy.weights, shardBytes);
      const [config, tokenizer, tokenizerConfig] = [
        await putText(blobs, model.texts.config),
        await putText(blobs, model.texts.tokenizer),
        await putText(blobs, model.texts.tokenizerConfig),
      ];
      await policies.write(policyRoot, [policy.weights], model.texts, async () => undefined);
      const published = await announce({
        recipeId: recipe.recipeId,
        policyStep: policy.policyStep,
        policyRoot: fromHex(policyRoot, 32),
        parentRoot: policy.parentRoot === null ? null : fromHex(policy.parentRoot, 32),
        timeMs: clock.nowMs(),
        full: encoded,
        admission: policy.admission,
        record: policy.record,
        closing: false,
        config,
        tokenizer,
        tokenizerConfig,
      });
      logger.info({ ...published, shards: encoded.shardHashes.length, bytes: encoded.sizeBytes }, 'policy published');
      return published;
    },
    async announce(change) {
      if (last === null) return null;
      const { admission = last.admission, closing = last.closing } = change;
      return announce({ ...last, admission, closing, timeMs: Math.max(clock.nowMs(), last.timeMs + 1) });
    },
  };
}

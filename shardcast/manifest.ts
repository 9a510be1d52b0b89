// What can be said of a manifest from itself and its recipe, before anything of it is fetched (spec/shardcast.md).
// A leaf: pure, no I/O. What needs the chain (parents, repeated roots, equivocation) is chain.ts.
// Only faults that every honest relay sees are `reject`: those are held against the peer that passed the message on.

import { equalBytes, toHex } from '../node/protocol/bytes.ts';
import { ACCEPT, type CheckAnswer, ignore, reject } from '../node/protocol/check.ts';
import type { Manifest } from '../node/protocol/manifest.ts';

/** What a recipe says of the manifests that it allows. */
export interface ManifestRules {
  readonly recipeId: Uint8Array;
  /** hex Ed25519 keys that may publish */
  readonly trainers: readonly string[];
  /** hex */
  readonly initialPolicyRoot: string;
  /** null until the recipe's config.json is here */
  readonly size: WeightsSize | null;
}

/** What a safetensors file of the recipe's model may weigh. */
export interface WeightsSize {
  /** tensor bytes in bf16 */
  readonly dataBytes: number;
  readonly tensors: number;
}

/** One shard of a manifest. */
export interface ManifestShard {
  readonly hashHex: string;
  readonly sizeBytes: number;
}

/** A safetensors header: its length, and name, type, shape and offsets of each tensor as JSON. Our own bounds. */
const HEADER_MIN_BYTES = 8;
const HEADER_BASE_BYTES = 1024;
const HEADER_BYTES_A_TENSOR = 512;

/** Whether a whole file may have this size. */
export function isSizePossible(sizeBytes: number, { dataBytes, tensors }: WeightsSize): boolean {
  const header = sizeBytes - dataBytes;
  return header >= HEADER_MIN_BYTES && header <= HEADER_BASE_BYTES + HEADER_BYTES_A_TENSOR * tensors;
}

/** Shards in file order; sizes add up to the file's. */
export function shardsOf({ full }: Pick<Manifest, 'full'>): readonly ManifestShard[] {
  return full.shardHashes.map((hash, i) => ({
    hashHex: toHex(hash),
    sizeBytes: Math.min(full.shardBytes, full.sizeBytes - i * full.shardBytes),
  }));
}

/** Checks that need neither chain nor model. @param signerKey public key of the envelope */
export function checkManifest(manifest: Manifest, signerKey: Uint8Array, rules: ManifestRules): CheckAnswer {
  // [IGNORE] not of this recipe, or not signed by a trainer that it names
  if (!equalBytes(manifest.recipeId, rules.recipeId)) return ignore('UNKNOWN_RECIPE');
  if (!rules.trainers.includes(toHex(signerKey))) return ignore('NOT_A_TRAINER');
  // [REJECT] a newcomer needs config and tokenizer, whichever step it starts from
  if (manifest.config === null || manifest.tokenizer === null || manifest.tokenizerConfig === null) {
    return reject('MALFORMED', { note: 'no config or tokenizer' });
  }
  // [REJECT] a step that changed nothing is not published
  if (manifest.parentRoot !== null && equalBytes(manifest.parentRoot, manifest.policyRoot)) {
    return reject('ROOT_REPEATED');
  }
  // [IGNORE] step 0 is the recipe's own model
  if (manifest.policyStep === 0 && toHex(manifest.policyRoot) !== rules.initialPolicyRoot) {
    return ignore('UNKNOWN_ROOT');
  }
  // [IGNORE] sizes of another model: nothing is allocated for it
  if (rules.size !== null && !isSizePossible(manifest.full.sizeBytes, rules.size)) {
    return ignore('SIZE_MISMATCH', { measured: manifest.full.sizeBytes, limit: rules.size.dataBytes });
  }
  return ACCEPT;
}

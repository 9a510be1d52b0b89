// From shards on disk to a policy folder: joined in order under a temporary name, checked whole, then renamed.
// Invariant: `policies` gets the policy only when names, shapes, finiteness and policyRoot are right.

import { toHex } from '../node/protocol/bytes.ts';
import { SwarmError } from '../node/protocol/errors.ts';
import type { Manifest } from '../node/protocol/manifest.ts';
import type { BlobStore } from '../node/protocol/ports.ts';
import { shardsOf } from './manifest.ts';
import type { Model } from './model-texts.ts';
import type { PolicyFolders } from './policies.ts';
import { rootOfWeights } from './weights.ts';

/**
 * Joins the shards of a manifest, all of them in the store.
 * @throws {SwarmError} BLOB_MISSING, DISK_FULL, ROOT_MISMATCH, MODEL_FILE_CORRUPT, MODEL_TENSOR_MISMATCH, NON_FINITE_WEIGHT
 */
export async function assemblePolicy(
  components: { readonly blobs: BlobStore; readonly policies: PolicyFolders },
  manifest: Manifest,
  model: Model,
): Promise<void> {
  const { blobs, policies } = components;
  const policyRoot = toHex(manifest.policyRoot);
  async function* parts(): AsyncIterable<Uint8Array> {
    for (const { hashHex } of shardsOf(manifest)) yield await blobs.get(hashHex);
  }
  await policies.write(policyRoot, parts(), model.texts, async (weightsFile) => {
    const root = await rootOfWeights(weightsFile, model.config);
    if (root !== policyRoot) {
      throw new SwarmError(
        'ROOT_MISMATCH',
        `the weights have root ${root}, their manifest says ${policyRoot}; refused`,
        {
          root,
          policyRoot,
        },
      );
    }
  });
}

// config.json and the tokenizer's two files: the part of a policy that never changes along a chain.
// Fetched once by hash, held against the recipe's configHash and tokenizerHash (spec/wire.md), then kept.

import { configHash, type ModelConfig, parseModelConfig } from '../node/model/config.ts';
import { tokenizerHash } from '../node/model/folder.ts';
import type { BlobRef } from '../node/protocol/blob-ref.ts';
import { toHex } from '../node/protocol/bytes.ts';
import { SwarmError } from '../node/protocol/errors.ts';
import type { Manifest } from '../node/protocol/manifest.ts';
import type { BlobFetcher, BlobStore, PeerIdString } from '../node/protocol/ports.ts';
import type { ModelTexts } from './policies.ts';

const FETCH_TIMEOUT_MS = 60_000;

/** What a recipe names its model by, in hex. */
export interface ModelNames {
  readonly configHash: string;
  readonly tokenizerHash: string;
}

export interface Model {
  readonly texts: ModelTexts;
  readonly config: ModelConfig;
}

/**
 * Holds the texts against the recipe.
 * @throws {SwarmError} MANIFEST_INVALID, UNSUPPORTED_MODEL
 */
export function modelOf(texts: ModelTexts, names: ModelNames): Model {
  const wrong = (what: string): SwarmError =>
    new SwarmError('MANIFEST_INVALID', `${what} is not the one that the recipe names; use the recipe's model`, {
      what,
    });
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(texts.config));
  } catch (cause) {
    throw new SwarmError('MANIFEST_INVALID', 'config.json is not JSON; use the recipe’s model', {}, { cause });
  }
  const config = parseModelConfig(json);
  if (toHex(configHash(json)) !== names.configHash) throw wrong('config.json');
  if (toHex(tokenizerHash(texts.tokenizer, texts.tokenizerConfig)) !== names.tokenizerHash)
    throw wrong('the tokenizer');
  return { texts, config };
}

/**
 * Fetches what a manifest names and checks it.
 * @throws {SwarmError} as `BlobFetcher.fetch`, `modelOf`
 */
export async function fetchModel(
  components: { readonly blobs: BlobStore; readonly fetcher: BlobFetcher },
  manifest: Manifest,
  names: ModelNames,
  from: PeerIdString,
  signal: AbortSignal,
): Promise<Model> {
  const get = async (ref: BlobRef | null): Promise<Uint8Array> => {
    if (ref === null) throw new SwarmError('MANIFEST_INVALID', 'the manifest names no config or tokenizer');
    const hashHex = toHex(ref.hash);
    if (await components.blobs.has(hashHex)) return components.blobs.get(hashHex);
    return components.fetcher.fetch(hashHex, {
      sizeBytes: ref.sizeBytes,
      from: [from],
      timeoutMs: FETCH_TIMEOUT_MS,
      signal,
    });
  };
  const [config, tokenizer, tokenizerConfig] = await Promise.all([
    get(manifest.config),
    get(manifest.tokenizer),
    get(manifest.tokenizerConfig),
  ]);
  return modelOf({ config, tokenizer, tokenizerConfig }, names);
}

// A policy as a person names it on the command line: by its step or root in a data directory, or as a model.

import { findKeptPolicy, type KeptPolicy } from './kept-policy.ts';
import { modelFolder } from './model-folder.ts';

/** A policy of a data directory, or a plain model folder. */
export type NamedPolicy = KeptPolicy | { readonly folder: string };

/**
 * A number is a policy step, hex digits are a root's beginning, anything else a model; `./` makes a folder of either.
 * @param text absent: the newest policy
 * @throws {SwarmError} as `findKeptPolicy` and `findModel`
 */
export async function findNamedPolicy(
  text: string | undefined,
  where: { readonly dataDir: string; readonly recipe?: string },
): Promise<NamedPolicy> {
  const { dataDir, recipe } = where;
  if (text === undefined) return findKeptPolicy(dataDir, { recipe });
  if (/^\d{1,9}$/.test(text)) return findKeptPolicy(dataDir, { recipe, policyStep: Number(text) });
  if (/^[0-9a-f]{4,64}$/.test(text)) return findKeptPolicy(dataDir, { recipe, rootPrefix: text });
  return { folder: await modelFolder(text) };
}

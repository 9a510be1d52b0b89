// The author's word on a recipe's chain, given through the node that holds the author's key.
// Source: spec/shardcast.md "What is published"; what it means to others: shardcast/chain-state.ts.

import { fromHex, toHex } from '../protocol/bytes.ts';
import { encodeContinuation } from '../protocol/continuation.ts';
import { SwarmError } from '../protocol/errors.ts';
import { decodeManifest } from '../protocol/manifest.ts';
import type { Clock, Inbox } from '../protocol/ports.ts';
import type { KnownRecipe, RecipeBook } from './recipe-book.ts';

export interface ContinuationRequest {
  /** id, its beginning, or name */
  readonly recipe: string;
  /** root of the policy that is followed, or its beginning */
  readonly root: string;
  /** trainer keys, or their beginnings */
  readonly revoke: readonly string[];
}

/** What was said, for people. */
export interface SaidContinuation {
  readonly recipe: string;
  readonly policyStep: number;
  readonly policyRoot: string;
  readonly trainer: string;
  readonly revoked: readonly string[];
}

export interface ContinuationComponents {
  readonly book: Pick<RecipeBook, 'find'>;
  readonly inbox: Pick<Inbox, 'stored' | 'publish'>;
  readonly clock: Clock;
  /** hex, of this node */
  readonly ownKey: string;
}

/**
 * Signs and publishes the author's word.
 * @throws {SwarmError} RECIPE_NOT_FOUND, NOT_FOUND, USAGE (not the author, an ambiguous beginning, the key that goes on)
 */
export async function sayContinuation(
  components: ContinuationComponents,
  request: ContinuationRequest,
): Promise<SaidContinuation> {
  const { book, inbox, clock, ownKey } = components;
  const known = book.find(request.recipe);
  if (known === undefined) {
    throw new SwarmError('RECIPE_NOT_FOUND', `no recipe "${request.recipe}" is known here; murmur recipes lists them`);
  }
  const { recipe, recipeId, recipeIdHex } = known.resolved;
  if (recipe.author !== ownKey) {
    const message = `only its author ${recipe.author.slice(0, 16)} may say how ${recipe.name} goes on; name that node's --data-dir`;
    throw new SwarmError('USAGE', message, { author: recipe.author });
  }
  const { policyStep, policyRoot, trainer } = await namedPolicy(inbox, known, request.root);
  const revoked = request.revoke.map((text) => only(recipe.trainers, text, 'trainer key'));
  if (revoked.includes(trainer)) {
    throw new SwarmError(
      'USAGE',
      'the key that signed the policy to go on with cannot be revoked with it; name another',
    );
  }
  const payload = encodeContinuation({
    ...{ recipeId, policyStep, policyRoot: fromHex(policyRoot, 32), trainerKey: fromHex(trainer, 32) },
    ...{ revokedKeys: revoked.map((key) => fromHex(key, 32)), timeMs: clock.nowMs() },
  });
  await inbox.publish('continuation', payload, recipeIdHex);
  return { recipe: recipe.name, policyStep, policyRoot, trainer, revoked };
}

/** The policy whose root begins so, from the manifests kept here: of a fork both are. */
async function namedPolicy(
  inbox: Pick<Inbox, 'stored'>,
  known: KnownRecipe,
  beginning: string,
): Promise<{ readonly policyStep: number; readonly policyRoot: string; readonly trainer: string }> {
  const found = new Map<string, { policyStep: number; trainer: string }>();
  for await (const message of inbox.stored('manifest', known.resolved.recipeIdHex)) {
    const { policyStep, policyRoot } = decodeManifest(message.payload);
    found.set(toHex(policyRoot), { policyStep, trainer: toHex(message.publicKey) });
  }
  const policyRoot = only([...found.keys()], beginning, 'policy root');
  return { policyRoot, ...found.get(policyRoot)! };
}

/** The one text that begins so. @throws {SwarmError} NOT_FOUND, USAGE */
function only(texts: readonly string[], beginning: string, what: string): string {
  const found = texts.filter((text) => text.startsWith(beginning));
  if (found.length === 1) return found[0]!;
  if (found.length === 0) {
    throw new SwarmError('NOT_FOUND', `no ${what} begins with "${beginning}"; murmur weights and recipes list them`);
  }
  throw new SwarmError('USAGE', `${found.length} begin with "${beginning}": write more of the ${what}`);
}

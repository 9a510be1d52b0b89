// What can be known of the swarm from here: answers to the inspecting commands, as plain JSON values.
// Works on a running node, on an observer, and on what a stopped node left; it reads and changes nothing.

import { MILLION } from '../../recipes/rewards/reward.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { decodeBody, type GroupBody } from '../protocol/body.ts';
import { equalBytes, toHex } from '../protocol/bytes.ts';
import { isSwarmError, SwarmError } from '../protocol/errors.ts';
import { decodeGroup, type GroupAnnouncement } from '../protocol/group.ts';
import { peerIdStringOf } from '../protocol/keys.ts';
import { decodeManifest } from '../protocol/manifest.ts';
import type { BlobFetcher, BlobStore, Inbox, SignedMessage } from '../protocol/ports.ts';
import { decodeVerdict, type Verdict } from '../protocol/verdict.ts';
import { completionText } from './evaluate.ts';
import type { KnownRecipe, RecipeBook } from './recipe-book.ts';

export interface InspectorComponents {
  readonly book: RecipeBook;
  readonly inbox: Inbox;
  readonly blobs: BlobStore;
  /** where a body that is not here is looked for */
  readonly fetcher: Pick<BlobFetcher, 'fetch'>;
  /** of the policies of a recipe; null while none is here */
  readonly tokenizerOf: (recipeIdHex: string) => Promise<Tokenizer | null>;
  readonly hasPolicy: (recipeIdHex: string, policyRoot: string) => Promise<boolean>;
  readonly status: () => Promise<Readonly<Record<string, unknown>>>;
  readonly peers: () => Promise<readonly Readonly<Record<string, unknown>>[]>;
  /** standing by peer id, where somebody verifies here */
  readonly standing?: () => ReadonlyMap<string, Row>;
}

export type Row = Readonly<Record<string, unknown>>;
export type Params = Readonly<Record<string, unknown>>;
/** What can be asked; the names of the control methods, and (but for `rollout` and `evidence`) of the commands. */
export const INSPECT_METHODS = [
  'status',
  'peers',
  'recipes',
  'rollouts',
  'rollout',
  'verdicts',
  'weights',
  'evidence',
] as const;
export type InspectMethod = (typeof INSPECT_METHODS)[number];
export type InspectHandlers = Readonly<Record<InspectMethod, (params: Params) => Promise<unknown>>>;

/** A group as it was signed, and what was said of it; bytes in base64. */
export interface GroupEvidence {
  readonly groupId: string;
  readonly peer: string;
  readonly recipeId: string;
  readonly announcement: string;
  readonly verdicts: readonly { readonly by: string; readonly payload: string }[];
  /** null when it lies in the data directory under its hash, or is not available */
  readonly body: string | null;
}

const DEFAULT_LIMIT = 20;
const BODY_TIMEOUT_MS = 10_000;

/** Handlers by method name, for the control socket and for local use. */
export function createInspector(components: InspectorComponents): InspectHandlers {
  const { book, inbox } = components;

  function chosen(params: Params): readonly KnownRecipe[] {
    const wanted = params['recipe'];
    if (typeof wanted !== 'string') return book.list();
    const found = book.find(wanted);
    if (found === undefined) {
      throw new SwarmError('RECIPE_NOT_FOUND', `no recipe "${wanted}" is known here; murmur recipes lists them`);
    }
    return [found];
  }

  async function newest<T>(
    kind: 'group' | 'verdict' | 'manifest',
    params: Params,
    row: (m: SignedMessage, r: KnownRecipe) => T,
  ): Promise<T[]> {
    const limit = typeof params['limit'] === 'number' ? params['limit'] : DEFAULT_LIMIT;
    const rows: T[] = [];
    for (const recipe of chosen(params)) {
      for await (const message of inbox.stored(kind, recipe.resolved.recipeIdHex)) {
        rows.push(row(message, recipe));
        if (rows.length > 4 * limit) rows.splice(0, rows.length - limit);
      }
    }
    return rows.slice(-limit);
  }

  async function verdictsByGroup(recipeIdHex: string): Promise<ReadonlyMap<string, readonly Verdict[]>> {
    const byGroup = new Map<string, Verdict[]>();
    for await (const message of inbox.stored('verdict', recipeIdHex)) {
      const verdict = decodeVerdict(message.payload);
      const id = toHex(verdict.groupId);
      byGroup.set(id, [...(byGroup.get(id) ?? []), verdict]);
    }
    return byGroup;
  }

  async function rollouts(params: Params): Promise<Row[]> {
    const rows = await newest('group', params, (message, recipe) => ({
      message,
      recipe,
      group: decodeGroup(message.payload),
    }));
    const verdicts = new Map<string, ReadonlyMap<string, readonly Verdict[]>>();
    for (const { recipe } of rows) {
      const id = recipe.resolved.recipeIdHex;
      if (!verdicts.has(id)) verdicts.set(id, await verdictsByGroup(id));
    }
    return rows.map(({ message, recipe, group }) => ({
      ...groupRow(message, group),
      verdict: verdictText(verdicts.get(recipe.resolved.recipeIdHex)?.get(message.idHex)),
    }));
  }

  async function findGroup(params: Params): Promise<{ readonly message: SignedMessage; readonly recipe: KnownRecipe }> {
    const wanted = String(params['groupId'] ?? '');
    for (const recipe of book.list()) {
      for await (const message of inbox.stored('group', recipe.resolved.recipeIdHex)) {
        if (message.idHex.startsWith(wanted)) return { message, recipe };
      }
    }
    throw new SwarmError('NOT_FOUND', `no rollout group ${wanted} is known here; murmur rollouts lists the newest`, {
      groupId: wanted,
    });
  }

  async function rollout(params: Params): Promise<Row> {
    const { message, recipe } = await findGroup(params);
    return groupInFull(message, recipe);
  }

  /** What `murmur replay` needs of a group, as it was signed. */
  async function evidence(params: Params): Promise<GroupEvidence> {
    const { message, recipe } = await findGroup(params);
    const { recipeIdHex: recipeId } = recipe.resolved;
    const group = decodeGroup(message.payload);
    const verdicts: { by: string; payload: string }[] = [];
    for await (const each of inbox.stored('verdict', recipeId)) {
      if (!equalBytes(decodeVerdict(each.payload).groupId, message.id)) continue;
      verdicts.push({ by: each.peerIdString, payload: Buffer.from(each.payload).toString('base64') });
    }
    // A body that is here lies in the data directory; it may be longer than a control answer.
    const isHere = await components.blobs.has(toHex(group.bodyHash));
    const bytes = isHere ? null : await bodyBytes(message, group);
    return {
      groupId: message.idHex,
      peer: message.peerIdString,
      recipeId,
      announcement: Buffer.from(message.payload).toString('base64'),
      verdicts,
      body: bytes === null ? null : Buffer.from(bytes).toString('base64'),
    };
  }

  async function groupInFull(message: SignedMessage, recipe: KnownRecipe): Promise<Row> {
    const id = recipe.resolved.recipeIdHex;
    const group = decodeGroup(message.payload);
    const verdicts = (await verdictsByGroup(id)).get(message.idHex);
    const tokenizer = await components.tokenizerOf(id);
    const base = {
      ...groupRow(message, group),
      recipe: recipe.resolved.recipe.name,
      verdicts: (verdicts ?? []).map(verdictRow),
    };
    if (tokenizer === null) return { ...base, body: 'its policy has not been fetched yet, nor its tokenizer' };
    const bytes = await bodyBytes(message, group);
    if (bytes === null) return { ...base, body: 'not available (bodies are deleted once too old to be trained on)' };
    return { ...base, ...bodyRow(decodeBody(bytes), group, tokenizer) };
  }

  /** From disk, else from peers (nothing of it stays here then); null when nobody has it. */
  async function bodyBytes(message: SignedMessage, group: GroupAnnouncement): Promise<Uint8Array | null> {
    const hashHex = toHex(group.bodyHash);
    if (await components.blobs.has(hashHex)) return components.blobs.get(hashHex);
    try {
      const from = [message.peerIdString];
      return await components.fetcher.fetch(hashHex, { sizeBytes: group.bodyBytes, from, timeoutMs: BODY_TIMEOUT_MS });
    } catch (error) {
      if (isSwarmError(error, 'BLOB_MISSING', 'BLOB_CORRUPT', 'REQUEST_TIMEOUT')) return null;
      throw error;
    } finally {
      await components.blobs.delete(hashHex);
    }
  }

  return {
    status: () => components.status(),
    peers: () => components.peers(),
    recipes: async () => ({ recipes: book.list().map((r) => recipeRow(r, book)), offers: book.offers().map(offerRow) }),
    rollouts,
    rollout,
    evidence,
    async verdicts(params) {
      const standing = components.standing?.();
      return newest('verdict', params, (message) => ({
        by: message.peerIdString,
        ...verdictRow(decodeVerdict(message.payload)),
        asVerifier: standing?.get(message.peerIdString)?.['asVerifier'] ?? null,
      }));
    },
    async weights(params) {
      const rows = await newest('manifest', params, (message, recipe) => ({
        recipe,
        manifest: decodeManifest(message.payload),
        message,
      }));
      // A trainer announces its newest policy again now and then: the last word on each counts.
      const lastWord = new Map(
        rows.map((row) => [`${row.recipe.resolved.recipeIdHex} ${toHex(row.manifest.policyRoot)}`, row]),
      );
      return Promise.all(
        [...lastWord.values()].map(async ({ recipe, manifest, message }) => ({
          recipe: recipe.resolved.recipe.name,
          policyStep: manifest.policyStep,
          policyRoot: toHex(manifest.policyRoot),
          parentRoot: manifest.parentRoot === null ? null : toHex(manifest.parentRoot),
          bytes: manifest.full.sizeBytes,
          shards: manifest.full.shardHashes.length,
          here: await components.hasPolicy(recipe.resolved.recipeIdHex, toHex(manifest.policyRoot)),
          published: new Date(manifest.timeMs).toISOString(),
          by: message.peerIdString,
        })),
      );
    },
  };
}

function groupRow(message: SignedMessage, group: GroupAnnouncement): Row {
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  return {
    groupId: message.idHex,
    peer: message.peerIdString,
    policyStep: group.policyStep,
    slot: group.slot,
    rewardMean: sum(group.rewards) / group.rewards.length / MILLION,
    tokensMean: sum(group.lengths) / group.lengths.length,
  };
}

function bodyRow(body: GroupBody, group: GroupAnnouncement, tokenizer: Tokenizer): Row {
  return {
    prompt: tokenizer.decode(Array.from(body.prompt)),
    rollouts: body.sequences.map((sequence, i) => ({
      completion: completionText(tokenizer, sequence),
      tokens: sequence.tokens.length,
      finish: sequence.finish,
      reward: (group.rewards[i] ?? 0) / MILLION,
      logprobMean: sequence.logprobs.reduce((a, b) => a + b, 0) / sequence.logprobs.length,
    })),
  };
}

function verdictRow(verdict: Verdict): Row {
  return {
    groupId: toHex(verdict.groupId),
    peer: peerIdStringOf(verdict.peerId),
    policyStep: verdict.policyStep,
    slot: verdict.slot,
    answer: verdict.answer,
    code: verdict.code,
    evidence: verdict.evidence ?? null,
    sequencesReplayed: verdict.sequencesReplayed,
  };
}

function verdictText(verdicts: readonly Verdict[] | undefined): string {
  if (verdicts === undefined) return 'waiting';
  return verdicts.map((v) => (v.code === null ? v.answer : `${v.answer} ${v.code}`)).join(', ');
}

function recipeRow(known: KnownRecipe, book: RecipeBook): Row {
  const { recipe, recipeIdHex } = known.resolved;
  return {
    recipeId: recipeIdHex,
    name: recipe.name,
    state: known.closed ? 'closed' : book.isOpen(recipeIdHex) ? 'open' : 'no trainer heard of',
    author: known.author,
    trainers: recipe.trainers,
    lastHeard: known.lastHeardMs === 0 ? null : new Date(known.lastHeardMs).toISOString(),
  };
}

function offerRow(known: ReturnType<RecipeBook['offers']>[number]): Row {
  const { offer } = known;
  return {
    trainer: known.publicKeyHex,
    peer: known.peerId,
    accepts: offer.accepts,
    models: offer.initialPolicyRoots.map(toHex),
    training: offer.trainingRecipeIds.map(toHex),
    heard: new Date(offer.timeMs).toISOString(),
  };
}

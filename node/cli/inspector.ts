// What can be known of the swarm from here: answers to the inspecting commands, as plain JSON values.
// Works on a running node, on an observer, and on what a stopped node left; it reads and changes nothing.

import type { Tokenizer } from '../model/tokenizer.ts';
import { decodeBody, type GroupBody } from '../protocol/body.ts';
import { toHex } from '../protocol/bytes.ts';
import { SwarmError } from '../protocol/errors.ts';
import { decodeGroup, type GroupAnnouncement } from '../protocol/group.ts';
import { peerIdStringOf } from '../protocol/keys.ts';
import { decodeManifest } from '../protocol/manifest.ts';
import type { BlobStore, Inbox, SignedMessage } from '../protocol/ports.ts';
import { decodeVerdict, type Verdict } from '../protocol/verdict.ts';
import { completionText } from './evaluate.ts';
import type { KnownRecipe, RecipeBook } from './recipe-book.ts';

export interface InspectorComponents {
  readonly book: RecipeBook;
  readonly inbox: Inbox;
  readonly blobs: BlobStore;
  /** of the policies of a recipe; null while none is here */
  readonly tokenizerOf: (recipeIdHex: string) => Promise<Tokenizer | null>;
  readonly hasPolicy: (recipeIdHex: string, policyRoot: string) => Promise<boolean>;
  readonly status: () => Promise<Readonly<Record<string, unknown>>>;
  readonly peers: () => Promise<readonly Readonly<Record<string, unknown>>[]>;
}

export type Row = Readonly<Record<string, unknown>>;
export type Params = Readonly<Record<string, unknown>>;
export type InspectHandlers = Readonly<Record<string, (params: Params) => Promise<unknown>>>;

const DEFAULT_LIMIT = 20;
const MILLION = 1e6;

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

  async function rollout(params: Params): Promise<Row> {
    const wanted = String(params['groupId'] ?? '');
    for (const recipe of book.list()) {
      for await (const message of inbox.stored('group', recipe.resolved.recipeIdHex)) {
        if (!message.idHex.startsWith(wanted)) continue;
        return groupInFull(message, recipe);
      }
    }
    throw new SwarmError('NOT_FOUND', `no rollout group ${wanted} is known here; murmur rollouts lists the newest`, {
      groupId: wanted,
    });
  }

  async function groupInFull(message: SignedMessage, recipe: KnownRecipe): Promise<Row> {
    const id = recipe.resolved.recipeIdHex;
    const group = decodeGroup(message.payload);
    const verdicts = (await verdictsByGroup(id)).get(message.idHex);
    const bodyHash = toHex(group.bodyHash);
    const tokenizer = await components.tokenizerOf(id);
    const base = {
      ...groupRow(message, group),
      recipe: recipe.resolved.recipe.name,
      verdicts: (verdicts ?? []).map(verdictRow),
    };
    if (tokenizer === null || !(await components.blobs.has(bodyHash))) {
      return { ...base, body: 'not here (bodies are deleted once they are too old to be trained on)' };
    }
    return { ...base, ...bodyRow(decodeBody(await components.blobs.get(bodyHash)), group, tokenizer) };
  }

  return {
    status: () => components.status(),
    peers: () => components.peers(),
    recipes: async () => ({ recipes: book.list().map((r) => recipeRow(r, book)), offers: book.offers().map(offerRow) }),
    rollouts,
    rollout,
    verdicts: (params) =>
      newest('verdict', params, (message) => ({
        by: message.peerIdString,
        ...verdictRow(decodeVerdict(message.payload)),
      })),
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

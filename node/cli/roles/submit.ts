// `murmur submit`: a recipe completed with a trainer that offers, signed, announced: by the node that runs on the data
// directory, or by a participant that stays until the trainer has fetched it.

import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fromUtf8, toHex } from '../../protocol/bytes.ts';
import { isSwarmError, SwarmError } from '../../protocol/errors.ts';
import type { SubmitOptions } from '../commands/submit.ts';
import { askControl, controlSocketPath } from '../control.ts';
import { EXIT_OK } from '../exit-codes.ts';
import { readIdentity } from '../identity.ts';
import type { Row } from '../inspector.ts';
import { createParticipant, type Participant } from '../participant.ts';
import { completeToBytes, readRecipeSource } from '../recipe-source.ts';
import { startModelNames } from '../start-model.ts';
import { createLogger, systemClock } from '../system.ts';
import { table } from '../table.ts';
import { waitForPeer } from '../wait-for-peer.ts';

/** A trainer's offer as shown by the inspector. */
interface Offer {
  readonly [field: string]: unknown;
  readonly trainer: string;
  readonly accepts: string;
  readonly models: readonly string[];
}

interface Submission {
  readonly recipeId: string;
  readonly name: string;
  readonly author: string;
  readonly trainer: string;
  /** what the trainers offered, the chosen one among them */
  readonly offers: readonly Offer[];
  readonly accepted: boolean;
}

const OFFER_TIMEOUT_MS = 20_000;
/** Once one trainer's offer is here, others follow soon or not at all. */
const OTHER_OFFERS_MS = 5_000;
const ACCEPT_TIMEOUT_MS = 20_000;
const POLL_MS = 250;

export async function runSubmit(recipe: string, options: SubmitOptions): Promise<number> {
  if (options.dryRun) return dryRun(recipe, options);
  const submission =
    options.join.length > 0 || !existsSync(controlSocketPath(options.dataDir))
      ? await submitAsParticipant(recipe, options)
      : await submitThroughNode(recipe, options);
  process.stdout.write(options.json ? `${JSON.stringify(submission)}\n` : describe(submission));
  return EXIT_OK;
}

function describe(s: Submission): string {
  const offers = s.offers.map(({ trainer, accepts, models }) => ({
    trainer,
    accepts,
    models,
    chosen: trainer === s.trainer,
  }));
  const state = s.accepted
    ? 'The trainer has taken it. Nodes will start on it as soon as its step-0 weights are out.'
    : 'The trainer has not taken it yet: it may be busy with another recipe, or take only recipes of its own author (--accept).';
  return `trainers that offer\n${table(offers, 'none')}\nsubmitted ${s.name}\nrecipe id  ${s.recipeId}\nauthor     ${s.author}\ntrainer    ${s.trainer}\n${state}\n`;
}

async function dryRun(recipe: string, options: SubmitOptions): Promise<number> {
  const author = toHex((await readIdentity(options.dataDir)).publicKey);
  const trainer = options.trainer ?? author;
  const source = await readRecipeSource(recipe);
  const model = await startModelNames(options.model, source);
  const bytes = completeToBytes(source, { author, trainers: [trainer], verifiers: options.verifier, model });
  process.stdout.write(
    options.json ? `${fromUtf8(bytes)}\n` : `${JSON.stringify(JSON.parse(fromUtf8(bytes)), null, 2)}\n`,
  );
  return EXIT_OK;
}

/** The first offer that will do. @throws {SwarmError} NOT_FOUND naming what there was */
function chooseOffer(offers: readonly Offer[], root: string, options: SubmitOptions, author: string): Offer {
  const named = offers.filter((o) => options.trainer === undefined || o.trainer.startsWith(options.trainer));
  const able = named.filter((o) => o.models.includes(root));
  const willing = able.find((o) => o.accepts === 'all' || (o.accepts === 'author' && o.trainer === author));
  if (willing !== undefined) return willing;
  const why =
    named.length === 0
      ? 'no trainer offers to train here'
      : able.length === 0
        ? `no trainer has this model (policy root ${root.slice(0, 12)})`
        : `the trainers take only their own authors' recipes (murmur train --accept all takes anybody's)`;
  throw new SwarmError('NOT_FOUND', `${why}; start one with: murmur train --accept all`, { offers: offers.length });
}

async function submitThroughNode(recipe: string, options: SubmitOptions): Promise<Submission> {
  const model = await startModelNames(options.model, await readRecipeSource(recipe));
  const { publicKey: author } = (await askControl(options.dataDir, 'identity')) as { publicKey: string };
  const offers = async (): Promise<readonly Offer[]> =>
    ((await askControl(options.dataDir, 'recipes')) as { offers: Offer[] }).offers;
  const offer = await waitForOffer(offers, model.initialPolicyRoot, options, author);
  const file = existsSync(resolve(recipe)) ? resolve(recipe) : recipe;
  const params = { recipe: file, trainers: [offer.trainer], verifiers: [...options.verifier], model };
  const { recipeId, name } = (await askControl(options.dataDir, 'submit', params)) as {
    recipeId: string;
    name: string;
  };
  const accepted = await waitForAcceptance(async () => {
    const { offers: rows } = (await askControl(options.dataDir, 'recipes')) as { offers: Row[] };
    return rows.some((row) => (row['training'] as string[]).includes(recipeId));
  });
  return { recipeId, name, author, trainer: offer.trainer, offers: await offers(), accepted };
}

async function submitAsParticipant(recipe: string, options: SubmitOptions): Promise<Submission> {
  const source = await readRecipeSource(recipe);
  if (options.join.length === 0) {
    throw new SwarmError(
      'NO_RUNNING_NODE',
      `no node runs on ${options.dataDir}; name a peer to hand the recipe to: --join <multiaddr>`,
    );
  }
  const model = await startModelNames(options.model, source);
  return withParticipant(options, async (participant) => {
    await waitForPeer({ peers: participant.host.peers, clock: systemClock }, options.join);
    const author = toHex(participant.keyPair.publicKey);
    const offers = async (): Promise<readonly Offer[]> =>
      participant.book.offers().map(({ publicKeyHex, offer }) => ({
        trainer: publicKeyHex,
        accepts: offer.accepts,
        models: offer.initialPolicyRoots.map(toHex),
      }));
    const offer = await waitForOffer(offers, model.initialPolicyRoot, options, author);
    const fill = { author, trainers: [offer.trainer], verifiers: options.verifier, model };
    const known = await participant.book.submit(completeToBytes(source, fill));
    const { recipeIdHex, recipe: submitted } = known.resolved;
    const accepted = await waitForAcceptance(async () => known.lastHeardMs > 0);
    return {
      ...{ recipeId: recipeIdHex, name: submitted.name, author, trainer: offer.trainer },
      offers: await offers(),
      accepted,
    };
  });
}

/** In the data directory when nobody uses it, so that the author's key stays the same; else in a temporary one. */
async function withParticipant<T>(options: SubmitOptions, use: (participant: Participant) => Promise<T>): Promise<T> {
  const join_ = async (dataDir: string): Promise<T> => {
    const participant = await createParticipant(
      { emit: () => {}, logger: createLogger('error') },
      {
        ...{ dataDir, network: options.network, join: options.join, loopback: options.loopback },
        ...{ host: '0.0.0.0', port: 0, mdns: false, relay: false, maxDisk: 1e9, logLevel: 'error', json: false },
      },
    );
    try {
      return await use(participant);
    } finally {
      await participant.stop();
    }
  };
  try {
    return await join_(options.dataDir);
  } catch (error) {
    if (!isSwarmError(error, 'DATA_DIR_IN_USE')) throw error;
  }
  const temporary = await mkdtemp(join(tmpdir(), 'murmur-submit-'));
  try {
    return await join_(temporary);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function waitForOffer(
  offers: () => Promise<readonly Offer[]>,
  root: string,
  options: SubmitOptions,
  author: string,
): Promise<Offer> {
  let until = systemClock.nowMs() + OFFER_TIMEOUT_MS;
  for (;;) {
    const heard = await offers();
    try {
      return chooseOffer(heard, root, options, author);
    } catch (error) {
      if (heard.length > 0) until = Math.min(until, systemClock.nowMs() + OTHER_OFFERS_MS);
      if (systemClock.nowMs() > until) throw error;
      await systemClock.sleep(POLL_MS);
    }
  }
}

async function waitForAcceptance(isAccepted: () => Promise<boolean>): Promise<boolean> {
  const until = systemClock.nowMs() + ACCEPT_TIMEOUT_MS;
  while (systemClock.nowMs() < until) {
    if (await isAccepted()) return true;
    await systemClock.sleep(POLL_MS);
  }
  return false;
}

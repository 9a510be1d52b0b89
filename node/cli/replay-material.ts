// What a replay needs, wherever it is: the group as signed, its verdicts, its body, its recipe and the folder of its policy.
// From a data directory (of a running participant or a stopped one), or from a swarm as an observer.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { ResolvedRecipe } from '../../recipes/resolve.ts';
import { toHex } from '../protocol/bytes.ts';
import { SwarmError } from '../protocol/errors.ts';
import { decodeGroup, type GroupAnnouncement } from '../protocol/group.ts';
import { decodeVerdict, type Verdict } from '../protocol/verdict.ts';
import { blobFile, dataDirLayout, policyFolder as policyFolderOf } from '../store/data-dir.ts';
import { nodeDataDir, withRecords } from './ask-node.ts';
import type { ReplayOptions } from './commands/replay.ts';
import type { GroupEvidence } from './inspector.ts';
import { recipeOf } from './kept-policy.ts';
import { systemClock } from './system.ts';

/** An observer waits for a policy until none has been on its way for this long. Our own. */
const IDLE_MS = 6_000;
const POLL_MS = 200;

export interface ReplayMaterial {
  readonly groupId: string;
  readonly peer: string;
  readonly announcement: GroupAnnouncement;
  readonly recipe: ResolvedRecipe;
  /** oldest first */
  readonly verdicts: readonly { readonly by: string; readonly verdict: Verdict }[];
  /** as fetched, not yet decoded */
  readonly body: Uint8Array;
  /** model folder of the group's policy */
  readonly policyFolder: string;
}

/**
 * Finds it all and hands it to `use`; what an observer fetched is gone afterwards.
 * @throws {SwarmError} NOT_FOUND (no such group; its policy is gone), BLOB_MISSING (its body is gone), as the control socket
 */
export async function withReplayMaterial<T>(
  groupId: string,
  options: ReplayOptions,
  use: (material: ReplayMaterial) => Promise<T>,
): Promise<T> {
  if (options.join.length > 0) return fromSwarm(groupId, options, use);
  const dir = nodeDataDir(options.dataDir);
  const evidence = await withRecords(dir, (ask) => ask('evidence', { groupId }));
  return use(await materialOf(dir, evidence as GroupEvidence));
}

async function fromSwarm<T>(
  groupId: string,
  options: ReplayOptions,
  use: (material: ReplayMaterial) => Promise<T>,
): Promise<T> {
  const { withObserver } = await import('./observer.ts');
  return withObserver({ ...options, keep: 'all' }, async (handlers, participant) => {
    const evidence = (await handlers.evidence({ groupId })) as GroupEvidence;
    const { policyRoot } = decodeGroup(Buffer.from(evidence.announcement, 'base64'));
    const followed = participant.followed().find(({ known }) => known.resolved.recipeIdHex === evidence.recipeId);
    // Older policies come after the newest; where none is on its way any more, nobody has this one.
    for (let idleMs = 0; idleMs < IDLE_MS && followed?.policies.has(toHex(policyRoot)) === false; ) {
      idleMs = followed.chain.status().fetching === null ? idleMs + POLL_MS : 0;
      await systemClock.sleep(POLL_MS);
    }
    return use(await materialOf(participant.store.dir, evidence));
  });
}

async function materialOf(dir: string, evidence: GroupEvidence): Promise<ReplayMaterial> {
  const { groupId, peer, recipeId } = evidence;
  const announcement = decodeGroup(Buffer.from(evidence.announcement, 'base64'));
  const { policyStep } = announcement;
  const policyRoot = toHex(announcement.policyRoot);
  const policyFolder = policyFolderOf(dataDirLayout(dir), recipeId, policyRoot);
  if (!existsSync(policyFolder)) {
    throw new SwarmError(
      'NOT_FOUND',
      `the policy of group ${groupId.slice(0, 12)}, step ${policyStep} (${policyRoot.slice(0, 12)}), is not kept here; murmur weights lists those that are, a participant that keeps it can be asked with --join`,
      { groupId, policyStep, policyRoot },
    );
  }
  return {
    groupId,
    peer,
    announcement,
    recipe: await recipeOf(dir, recipeId),
    verdicts: evidence.verdicts.map(({ by, payload }) => ({
      by,
      verdict: decodeVerdict(Buffer.from(payload, 'base64')),
    })),
    body: await bodyOf(dir, evidence, announcement),
    policyFolder,
  };
}

async function bodyOf(dir: string, evidence: GroupEvidence, { bodyHash }: GroupAnnouncement): Promise<Uint8Array> {
  if (evidence.body !== null) return Buffer.from(evidence.body, 'base64');
  const hash = toHex(bodyHash);
  return readFile(blobFile(dataDirLayout(dir), hash)).catch((cause: unknown) => {
    throw new SwarmError(
      'BLOB_MISSING',
      `the body of group ${evidence.groupId.slice(0, 12)} is no longer available: bodies are deleted once they are too old to be trained on; murmur rollouts lists newer groups`,
      { groupId: evidence.groupId, bodyHash: hash },
      { cause },
    );
  });
}

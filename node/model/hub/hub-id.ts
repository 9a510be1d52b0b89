// A model's name on the hub: `owner/name`, and `@revision` (branch, tag or commit) where one is meant.

import { SwarmError } from '../../protocol/errors.ts';

const PART = '[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?';
const HUB_ID = new RegExp(`^(${PART}/${PART})(?:@([A-Za-z0-9_./-]{1,120}))?$`);
const COMMIT = /^[0-9a-f]{40}$/;

export interface HubId {
  /** `owner/name` */
  readonly repo: string;
  readonly revision: string;
}

/** Null when the text is no hub id: names go into paths and addresses, so nothing else passes. */
export function parseHubId(text: string): HubId | null {
  const match = HUB_ID.exec(text);
  const [, repo, revision = 'main'] = match ?? [];
  // The hub allows neither; in a path `--` would be read as the slash.
  if (repo === undefined || /--|\.\./.test(repo) || /\.\.|\/\/|^\/|\/$/.test(revision)) return null;
  return { repo, revision };
}

export function printHubId({ repo, revision }: HubId): string {
  return `${repo}@${revision}`;
}

/** Whether a revision can never mean anything else. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

/** @throws {SwarmError} HUB_NOT_FOUND */
export function requireHubId(text: string): HubId {
  const id = parseHubId(text);
  if (id !== null) return id;
  throw new SwarmError('HUB_NOT_FOUND', `${text.slice(0, 200)} is no hub id; write owner/name or owner/name@revision`);
}

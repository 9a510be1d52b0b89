// What `--model` means, for every command: a folder on this machine, or a model of the hub by its id.
// A hub id that the user wrote is consent to download it; one that a recipe names is not, and is only looked up.

import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fetchModel, findCachedModel, type LocalModel } from '../model/hub/hub.ts';
import { parseHubId, printHubId, requireHubId } from '../model/hub/hub-id.ts';
import { errnoOf } from '../protocol/disk.ts';
import { SwarmError } from '../protocol/errors.ts';
import { diskError } from '../store/fs-error.ts';
import { megabytes, showProgress } from './progress.ts';

/** A model as a command uses it. */
export interface FoundModel {
  readonly folder: string;
  /** `owner/name@commit` where it came from the hub */
  readonly hubId: string | null;
}

const fromHub = (repo: string, { folder, commit }: LocalModel): FoundModel => ({
  folder,
  hubId: printHubId({ repo, revision: commit }),
});

/**
 * @param text a path that exists, else a hub id; what begins with . or / is a path in any case
 * @throws {SwarmError} MODEL_FILE_MISSING, and as `fetchModel`
 */
export async function findModel(text: string): Promise<FoundModel> {
  const folder = resolve(text);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return { folder, hubId: null };
  const id = /^[./~]/.test(text) ? null : parseHubId(text);
  if (id === null) {
    throw new SwarmError(
      'MODEL_FILE_MISSING',
      `no folder ${folder}; --model takes a model folder, or a hub id such as owner/name`,
      { model: text },
    );
  }
  const tell = (line: string): void => void process.stderr.write(`${line}\n`);
  const model = await fetchModel(id, {
    env: process.env,
    onSize: (bytes) => tell(`downloading ${megabytes(bytes)} of ${text} from the hub`),
    onProgress: showProgress(`downloading ${id.repo}`),
    onStale: (commit) => tell(`the hub does not answer; using the copy of ${id.repo} at ${commit.slice(0, 12)}`),
  }).catch((error: unknown) => {
    throw errnoOf(error) === null ? error : diskError(error, `write the hub's cache`);
  });
  return fromHub(id.repo, model);
}

/**
 * The model that a recipe names, if all of it is on this machine; nobody is asked for it.
 * @throws {SwarmError} MODEL_FILE_MISSING, saying what to type
 */
export async function findNamedModel(hubId: string): Promise<FoundModel> {
  const id = requireHubId(hubId);
  const model = await findCachedModel(id, process.env);
  if (model !== null) return fromHub(id.repo, model);
  throw new SwarmError(
    'MODEL_FILE_MISSING',
    `the recipe starts from ${hubId} of the hub, which is not on this machine: add --model ${hubId} to download it, or --model with its folder`,
    { hubId },
  );
}

/** The folder alone. */
export async function modelFolder(text: string): Promise<string> {
  return (await findModel(text)).folder;
}

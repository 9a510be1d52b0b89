// The two questions that are asked of the hub: what a model consists of, and the bytes of a file from some point on.
// Source: the hub's API (huggingface.co/docs/hub/api) as huggingface_hub uses it; error codes in the X-Error-Code header.
// Does I/O. The token goes to the endpoint only: fetch drops it when it is redirected to a storage host.

import { errorText, SwarmError } from '../../protocol/errors.ts';
import type { HubId } from './hub-id.ts';

/** One file of a model on the hub. */
export interface HubFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** name of the blob in the cache: SHA-256 of a large file, git's blob id of a small one */
  readonly etag: string;
}

export interface HubModel {
  readonly commit: string;
  readonly files: readonly HubFile[];
}

export interface HubClientInit {
  /** such as https://huggingface.co */
  readonly endpoint: string;
  readonly token?: string | undefined;
  /** longest that nothing may come, milliseconds */
  readonly idleMs: number;
}

export interface HubClient {
  /** @throws {SwarmError} HUB_NOT_FOUND, HUB_DENIED, HUB_UNREACHABLE */
  model(id: HubId): Promise<HubModel>;
  /**
   * Hands the file's bytes from `start` on to `take`, or all of them, from 0, where the hub sends the whole file.
   * @throws {SwarmError} as `model`, and what `take` throws
   */
  read(
    repo: string,
    commit: string,
    file: string,
    start: number,
    take: (start: number, chunks: AsyncIterable<Uint8Array>) => Promise<void>,
  ): Promise<void>;
}

/** A model with more files than this has not been listed by a hub. */
const MAX_FILES = 20_000;
const MAX_LIST_BYTES = 32 << 20;

/** Ends a request that nothing comes from any more; every sign of life starts the wait anew. */
function watchIdle(base: string, idleMs: number): { readonly signal: AbortSignal; alive(): void; stop(): void } {
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(unreachable(base, `nothing came for ${idleMs} ms`)), idleMs);
  return { signal: ending.signal, alive: () => void timer.refresh(), stop: () => clearTimeout(timer) };
}

export function createHubClient({ endpoint, token, idleMs }: HubClientInit): HubClient {
  const base = endpoint.replace(/\/+$/, '');
  const authorization: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};

  /** Hands an answer and its chunks to `use`: one that is a success, or 416 (nothing is left to read from there). */
  async function get<T>(
    url: string,
    repo: string,
    headers: Record<string, string>,
    use: (response: Response, chunks: AsyncIterable<Uint8Array>) => Promise<T>,
  ): Promise<T> {
    const idle = watchIdle(base, idleMs);
    try {
      const response = await fetch(url, { headers: { ...authorization, ...headers }, signal: idle.signal });
      if (!response.ok && response.status !== 416) {
        await response.body?.cancel();
        throw refusal(response, base, repo, token !== undefined);
      }
      return await use(response, watched(response.body, idle.alive));
    } catch (error) {
      if (error instanceof SwarmError || (error instanceof Error && 'syscall' in error)) throw error;
      const why = error instanceof Error && error.cause !== undefined ? error.cause : error;
      throw unreachable(base, errorText(why), error);
    } finally {
      idle.stop();
    }
  }

  return {
    async model({ repo, revision }) {
      const url = `${base}/api/models/${repo}/revision/${encodeURIComponent(revision)}?blobs=true`;
      return get(url, repo, {}, async (_response, chunks) => parseModel(await listText(chunks, base), base));
    },
    async read(repo, commit, file, start, take) {
      const url = `${base}/${repo}/resolve/${commit}/${encodeURIComponent(file)}`;
      await get(url, repo, start > 0 ? { range: `bytes=${start}-` } : {}, async (response, chunks) => {
        if (response.status === 416) await response.body?.cancel();
        else await take(response.status === 200 ? 0 : start, chunks);
      });
    },
  };
}

async function* watched(body: AsyncIterable<Uint8Array> | null, alive: () => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of body ?? []) {
    alive();
    yield chunk;
  }
}

async function listText(chunks: AsyncIterable<Uint8Array>, base: string): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > MAX_LIST_BYTES) throw unreachable(base, `its answer is longer than ${MAX_LIST_BYTES} bytes`);
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString('utf8');
}

function unreachable(base: string, why: string, cause?: unknown): SwarmError {
  return new SwarmError(
    'HUB_UNREACHABLE',
    `cannot get anything from ${base}: ${why}. Check the network (HF_ENDPOINT names another hub), or name a local folder.`,
    { endpoint: base },
    { cause },
  );
}

/** The hub answers 401 for what is not there, so that nobody learns the names of private models. */
function refusal(response: Response, base: string, repo: string, hasToken: boolean): SwarmError {
  const { status } = response;
  const code = response.headers.get('x-error-code');
  const detail = { repo, status };
  if (code === 'RevisionNotFound') return new SwarmError('HUB_NOT_FOUND', `${repo} has no such revision`, detail);
  if (code === 'EntryNotFound') return new SwarmError('HUB_NOT_FOUND', `a file of ${repo} is gone; try again`, detail);
  if (code === 'GatedRepo' || status === 403) {
    const then = hasToken ? 'ask for access on its page' : 'ask for access on its page, then set HF_TOKEN';
    return new SwarmError('HUB_DENIED', `${base}/${repo} is not open to everybody: ${then}`, detail);
  }
  if (status === 401 && hasToken && code !== 'RepoNotFound') {
    return new SwarmError('HUB_DENIED', `${base} does not take this HF_TOKEN; make another, or unset it`, detail);
  }
  if (status === 401 || status === 404) {
    const why = hasToken ? 'or HF_TOKEN may not see it' : 'or it is private (set HF_TOKEN)';
    return new SwarmError('HUB_NOT_FOUND', `there is no model ${repo} at ${base}, ${why}`, detail);
  }
  return unreachable(base, `it answered ${status}`);
}

interface Sibling {
  readonly rfilename?: unknown;
  readonly size?: unknown;
  readonly blobId?: unknown;
  readonly lfs?: { readonly sha256?: unknown; readonly size?: unknown } | null;
}

interface Listing {
  readonly sha?: unknown;
  readonly siblings?: unknown;
}

/** Files without a size or a hash are left out: nothing could be checked. */
function parseModel(text: string, base: string): HubModel {
  let json: Listing | null = null;
  try {
    json = JSON.parse(text) as Listing | null;
  } catch {
    // told below
  }
  const sha = json?.sha;
  const siblings = json?.siblings;
  if (
    typeof sha !== 'string' ||
    !/^[0-9a-f]{40}$/.test(sha) ||
    !Array.isArray(siblings) ||
    siblings.length > MAX_FILES
  ) {
    throw unreachable(base, 'its answer does not describe a model');
  }
  const files = (siblings as readonly (Sibling | null)[]).flatMap((sibling): HubFile[] => {
    const { rfilename: name, size, blobId, lfs } = sibling ?? {};
    const sizeBytes = lfs?.size ?? size;
    const etag = lfs?.sha256 ?? blobId;
    if (typeof name !== 'string' || typeof etag !== 'string' || !/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(etag))
      return [];
    return Number.isSafeInteger(sizeBytes) && (sizeBytes as number) >= 0
      ? [{ name, sizeBytes: sizeBytes as number, etag }]
      : [];
  });
  return { commit: sha, files };
}

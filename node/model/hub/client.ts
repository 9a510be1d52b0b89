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
}

export interface HubClient {
  /** @throws {SwarmError} HUB_NOT_FOUND, HUB_DENIED, HUB_UNREACHABLE */
  model(id: HubId): Promise<HubModel>;
  /**
   * The file's bytes from `start` on.
   * @returns `start` is 0 where the hub sends the whole file all the same
   * @throws {SwarmError} as `model`
   */
  read(
    repo: string,
    commit: string,
    file: string,
    start: number,
  ): Promise<{ readonly start: number; readonly bytes: AsyncIterable<Uint8Array> }>;
}

/** A model with more files than this has not been listed by a hub. */
const MAX_FILES = 20_000;
const MAX_LIST_CHARACTERS = 32 << 20;

export function createHubClient({ endpoint, token }: HubClientInit): HubClient {
  const base = endpoint.replace(/\/+$/, '');
  async function get(url: string, repo: string, headers: Record<string, string> = {}): Promise<Response> {
    const authorization: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(url, { headers: { ...authorization, ...headers } }).catch((cause: unknown) => {
      throw unreachable(base, errorText(cause instanceof Error ? (cause.cause ?? cause) : cause), cause);
    });
    // 416: nothing is left to read from there.
    if (response.ok || response.status === 416) return response;
    await response.body?.cancel();
    throw refusal(response, base, repo, token !== undefined);
  }
  return {
    async model({ repo, revision }) {
      const url = `${base}/api/models/${repo}/revision/${encodeURIComponent(revision)}?blobs=true`;
      const response = await get(url, repo);
      const text = await response.text().catch((cause: unknown) => {
        throw unreachable(base, 'the answer broke off', cause);
      });
      return parseModel(text, base);
    },
    async read(repo, commit, file, start) {
      const url = `${base}/${repo}/resolve/${commit}/${encodeURIComponent(file)}`;
      const response = await get(url, repo, start > 0 ? { range: `bytes=${start}-` } : {});
      const body = response.status === 416 ? null : response.body;
      if (response.status === 416) await response.body?.cancel();
      return { start: response.status === 200 ? 0 : start, bytes: body ?? noBytes() };
    },
  };
}

async function* noBytes(): AsyncGenerator<Uint8Array> {}

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
    if (text.length <= MAX_LIST_CHARACTERS) json = JSON.parse(text) as Listing | null;
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

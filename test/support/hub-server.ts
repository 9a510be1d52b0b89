// A hub on this machine: the paths, headers and error codes that the real one answers with, and faults on request.
// Source: the hub's API as huggingface_hub and @huggingface/hub use it. Large files count as LFS (SHA-256), others as git's.

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Ending } from './temp-dir.ts';

/** What a request asked for, as the tests look at it. */
export interface HubRequest {
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** One model that the hub has. */
export interface HubRepo {
  readonly files: Map<string, Uint8Array>;
  readonly commit: string;
  /** names that stand for the commit, besides `main` */
  readonly revisions?: readonly string[];
  /** who asks without it is told that nothing is there */
  readonly token?: string;
  readonly isGated?: boolean;
}

export interface HubServer {
  readonly endpoint: string;
  readonly requests: readonly HubRequest[];
  /** the next so many answers with this file's bytes break off after `bytes` of them */
  cutOff(file: string, bytes: number, times: number): void;
  /** bytes that are sent instead of the file's, while its hash stays what it was */
  replace(file: string, bytes: Uint8Array): void;
  restore(file: string): void;
  /** the next answer with this file's bytes stops after `bytes` of them, and stays open */
  stall(file: string, bytes: number): void;
  /** sends whole files only, whatever range is asked for */
  ignoreRanges(): void;
  close(): Promise<void>;
}

const LARGE_BYTES = 10_000;

/** The files of a folder as a repository. */
export async function repoOf(dir: string, commit: string = 'c0ffee'.padEnd(40, '0')): Promise<HubRepo> {
  const files = new Map<string, Uint8Array>();
  for (const name of await readdir(dir)) files.set(name, await readFile(join(dir, name)));
  return { files, commit };
}

function gitBlobId(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

function sibling(name: string, bytes: Uint8Array): object {
  const pointer = { rfilename: name, size: bytes.length, blobId: gitBlobId(bytes) };
  if (bytes.length < LARGE_BYTES) return pointer;
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { ...pointer, blobId: gitBlobId(Buffer.from(sha256)), lfs: { sha256, size: bytes.length, pointerSize: 134 } };
}

/** @param repos by `owner/name` */
export async function hubServer(t: Ending, repos: Readonly<Record<string, HubRepo>>): Promise<HubServer> {
  const requests: HubRequest[] = [];
  const cuts = new Map<string, { bytes: number; times: number }>();
  const replaced = new Map<string, Uint8Array>();
  const stalls = new Map<string, number>();
  let takesRanges = true;

  function refuse(response: ServerResponse, status: number, code: string): void {
    response.writeHead(status, { 'x-error-code': code, 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: code }));
  }

  function sendFile(response: ServerResponse, name: string, bytes: Uint8Array, range: string | undefined): void {
    const from = takesRanges && range !== undefined ? Number(/^bytes=(\d+)-$/.exec(range)![1]) : 0;
    if (from > 0 && from >= bytes.length) {
      response.writeHead(416).end();
      return;
    }
    const rest = bytes.subarray(from);
    const ranged = from > 0 ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {};
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': rest.length, ...ranged });
    const stalled = stalls.get(name);
    if (stalled !== undefined) {
      stalls.delete(name);
      response.write(rest.subarray(0, stalled));
      return;
    }
    const cut = cuts.get(name);
    if (cut === undefined || cut.times === 0) {
      response.end(rest);
      return;
    }
    cut.times--;
    response.write(rest.subarray(0, cut.bytes), () => response.destroy());
  }

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? '/', 'http://hub');
    const { range, authorization } = request.headers;
    requests.push({ path: pathname, range, authorization });
    const match =
      /^\/api\/models\/([^/]+\/[^/]+)\/revision\/([^/]+)$/.exec(pathname) ??
      /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(pathname);
    const [, name = '', revision = '', file] = match ?? [];
    const repo = repos[name];
    if (repo === undefined || (repo.token !== undefined && authorization !== `Bearer ${repo.token}`)) {
      refuse(response, authorization === undefined ? 401 : 404, 'RepoNotFound');
      return;
    }
    if (![repo.commit, 'main', ...(repo.revisions ?? [])].includes(decodeURIComponent(revision))) {
      refuse(response, 404, 'RevisionNotFound');
      return;
    }
    if (file === undefined) {
      const siblings = [...repo.files].map(([rfilename, bytes]) => sibling(rfilename, bytes));
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ id: name, sha: repo.commit, siblings }));
      return;
    }
    const bytes = replaced.get(file) ?? repo.files.get(file);
    if (repo.isGated) refuse(response, 403, 'GatedRepo');
    else if (bytes === undefined) refuse(response, 404, 'EntryNotFound');
    else sendFile(response, file, bytes, range);
  }

  const server = createServer(answer);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise<void>((done) => server.close(() => done()));
  };
  t.after(close);
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    cutOff: (file, bytes, times) => void cuts.set(file, { bytes, times }),
    replace: (file, bytes) => void replaced.set(file, bytes),
    restore: (file) => void replaced.delete(file),
    stall: (file, bytes) => void stalls.set(file, bytes),
    ignoreRanges() {
      takesRanges = false;
    },
    close,
  };
}

// The control socket: how `murmur status`, `submit`, … ask a node that runs on this machine.
// One JSON line in, one JSON line out, over a Unix socket in the data directory (mode 0600: the owner only).
// Invariant: a malformed or oversized request costs its own connection and nothing else.

import { chmod, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { sha256, toHex, utf8 } from '../protocol/bytes.ts';
import { type ErrorCode, errorText, SwarmError } from '../protocol/errors.ts';

/** Longest request or answer in UTF-16 units; a recipe is at most 256 KiB. */
const MAX_LINE_CHARACTERS = 4 * 1024 * 1024;
/** Unix socket paths end at 107 bytes on Linux and 103 on macOS. */
const MAX_SOCKET_PATH_BYTES = 100;
const DEFAULT_TIMEOUT_MS = 30_000;

export type ControlHandler = (params: Readonly<Record<string, unknown>>) => Promise<unknown>;

/** Where the control socket of a data directory lies: inside it, or in the temporary folder when the path is too long. */
export function controlSocketPath(dataDir: string): string {
  const direct = join(resolve(dataDir), 'control.sock');
  if (Buffer.byteLength(direct) <= MAX_SOCKET_PATH_BYTES) return direct;
  return join(tmpdir(), `murmur-${toHex(sha256(utf8(resolve(dataDir)))).slice(0, 16)}.sock`);
}

/** Serves `handlers` by method name until `close` is called. */
export async function serveControl(
  dataDir: string,
  handlers: Readonly<Record<string, ControlHandler>>,
): Promise<{ readonly path: string; close(): Promise<void> }> {
  const path = controlSocketPath(dataDir);
  await rm(path, { force: true });
  const open = new Set<Socket>();
  const server: Server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
    serveConnection(socket, handlers);
  });
  await new Promise<void>((done, fail) => {
    server.once('error', (cause) =>
      fail(
        new SwarmError(
          'CONTROL_FAILED',
          `cannot open the control socket ${path}: ${errorText(cause)}`,
          { path },
          { cause },
        ),
      ),
    );
    server.listen(path, done);
  });
  await chmod(path, 0o600);
  return {
    path,
    async close(): Promise<void> {
      for (const socket of open) socket.destroy();
      await new Promise<void>((done) => server.close(() => done()));
      await rm(path, { force: true });
    },
  };
}

function serveConnection(socket: Socket, handlers: Readonly<Record<string, ControlHandler>>): void {
  onLines(socket, (line) => {
    void answerLine(line, handlers).then((text) => socket.write(`${text}\n`));
  });
}

/** Calls `onLine` for every whole line; a line that grows over the limit ends the connection. */
function onLines(socket: Socket, onLine: (line: string) => void): void {
  let pending = '';
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    const lines = (pending + text).split('\n');
    pending = lines.pop() ?? '';
    if (pending.length > MAX_LINE_CHARACTERS) socket.destroy();
    for (const line of lines) onLine(line);
  });
}

/** The answer to one line of a request, itself one line. Never throws: a refusal is an answer with a code. */
export async function answerLine(line: string, handlers: Readonly<Record<string, ControlHandler>>): Promise<string> {
  try {
    const request = (JSON.parse(line) ?? {}) as { method?: unknown; params?: unknown };
    const { method } = request;
    const handler = typeof method === 'string' && Object.hasOwn(handlers, method) ? handlers[method] : undefined;
    if (handler === undefined) throw new SwarmError('CONTROL_FAILED', `unknown control method ${String(method)}`);
    const params = typeof request.params === 'object' && request.params !== null ? request.params : {};
    return JSON.stringify({ ok: true, result: (await handler(params as Record<string, unknown>)) ?? null });
  } catch (error) {
    const code: ErrorCode = error instanceof SwarmError ? error.code : 'CONTROL_FAILED';
    return JSON.stringify({ ok: false, error: { code, message: errorText(error) } });
  }
}

/**
 * Asks the node that runs on `dataDir`.
 * @throws {SwarmError} NO_RUNNING_NODE when nothing listens there; CONTROL_REFUSED when this user may not ask;
 *   CONTROL_TIMEOUT; CONTROL_FAILED when the answer breaks off or is none; the node's own code when it refuses
 */
export async function askControl(
  dataDir: string,
  method: string,
  params: Readonly<Record<string, unknown>> = {},
  timeoutMs: number = DEFAULT_TIMEOUT_MS,
): Promise<unknown> {
  const path = controlSocketPath(dataDir);
  const socket = connect(path);
  socket.setTimeout(timeoutMs);
  try {
    const line = await new Promise<string>((done, fail) => {
      socket.once('error', (cause) => fail(connectError(cause, dataDir, path)));
      socket.once('timeout', () =>
        fail(
          new SwarmError(
            'CONTROL_TIMEOUT',
            `the node at ${dataDir} did not answer in ${timeoutMs} ms; it may be busy: ask again`,
            { dataDir, timeoutMs },
          ),
        ),
      );
      socket.once('close', () => fail(brokenAnswer(dataDir, 'it closed the connection')));
      onLines(socket, done);
      socket.write(`${JSON.stringify({ method, params })}\n`);
    });
    return resultOf(line, dataDir);
  } finally {
    socket.destroy();
  }
}

interface Reply {
  readonly ok?: unknown;
  readonly result?: unknown;
  readonly error?: { readonly code?: ErrorCode; readonly message?: string };
}

/** What the node answered; throws what it refused with. */
function resultOf(line: string, dataDir: string): unknown {
  let reply: Reply | null;
  try {
    reply = JSON.parse(line) as Reply | null;
  } catch (cause) {
    throw brokenAnswer(dataDir, 'its answer is not JSON', cause);
  }
  if (reply?.ok === true) return reply.result;
  if (reply?.ok !== false) throw brokenAnswer(dataDir, 'its answer is none of ours');
  throw new SwarmError(reply.error?.code ?? 'CONTROL_FAILED', reply.error?.message ?? 'the node refused');
}

function brokenAnswer(dataDir: string, what: string, cause?: unknown): SwarmError {
  const message = `the node at ${dataDir} did not answer: ${what}; it may be ending, or of another version`;
  return new SwarmError('CONTROL_FAILED', message, { dataDir }, { cause });
}

/** Nobody there, not allowed, or something else: errno names of connect(2). */
function connectError(cause: unknown, dataDir: string, path: string): SwarmError {
  const errno = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  // ENOTSOCK: a file of that name that is no socket.
  if (['ENOENT', 'ECONNREFUSED', 'ENOTSOCK', 'ENOTDIR'].includes(errno)) {
    return new SwarmError(
      'NO_RUNNING_NODE',
      `no murmur node runs on ${dataDir}; start one (murmur node) or name its --data-dir; commands that only look take --join <address> instead`,
      { dataDir },
    );
  }
  if (errno === 'EACCES' || errno === 'EPERM') {
    return new SwarmError(
      'CONTROL_REFUSED',
      `the node at ${dataDir} runs as another user: ask as that user; commands that only look take --join <address> instead`,
      { dataDir, path },
      { cause },
    );
  }
  return brokenAnswer(dataDir, errorText(cause), cause);
}

// Child processes of the demo: each is the ordinary `murmur` command with --json, its events read from its stdout.
// Invariant: `stopAll` ends every process that was started, at the latest after the grace time, by pid.

import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, SwarmError } from '../../protocol/errors.ts';
import type { RoleEvent } from '../events.ts';

/** The `murmur` entry point of this very installation: main.ts in development, main.js when built. */
const MAIN = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../main.ts' : '../main.js', import.meta.url));
const GRACE_MS = 15_000;
/**
 * Many processes on one machine: with this and two malloc arenas a node took 285 MB after 8 s of CPU time, without
 * 350 MB after 9.5 s (measured, one run each).
 */
const NODE_FLAGS = ['--max-semi-space-size=4'];

export interface SwarmProcess {
  readonly name: string;
  readonly pid: number;
  /** resolves with the exit code (or -1 when killed by a signal) */
  readonly exited: Promise<number>;
  /** the error to show when it ended although nobody asked it to */
  endedWith(code: number): SwarmError;
  /** the first event of one kind, or a rejection when the process ends before */
  first<E extends RoleEvent['event']>(event: E): Promise<Extract<RoleEvent, { event: E }>>;
  /** asks it to end (Ctrl-C); kills it after the grace time */
  stop(): Promise<number>;
  kill(): void;
}

export interface ProcessSet {
  start(name: string, args: readonly string[]): SwarmProcess;
  stopAll(): Promise<void>;
  /** ends every process at once */
  killAll(): void;
}

/**
 * @param logDir stderr of each process goes to `<name>.log` in it, its events to `<name>.jsonl`
 * @param onEvent every event of every process, in order of arrival
 */
export function createProcessSet(logDir: string, onEvent: (name: string, event: RoleEvent) => void): ProcessSet {
  const running = new Set<SwarmProcess>();
  return {
    start(name, args) {
      const child = startProcess(name, args, logDir, (event) => onEvent(name, event));
      running.add(child);
      void child.exited.then(() => running.delete(child));
      return child;
    },
    async stopAll() {
      await Promise.all([...running].map((child) => child.stop()));
    },
    killAll() {
      for (const child of running) child.kill();
    },
  };
}

function startProcess(
  name: string,
  args: readonly string[],
  logDir: string,
  onEvent: (event: RoleEvent) => void,
): SwarmProcess {
  const log = createWriteStream(join(logDir, `${name}.log`), { flags: 'a' });
  const events = createWriteStream(join(logDir, `${name}.jsonl`), { flags: 'a' });
  // Its own process group: Ctrl-C in the terminal reaches the demo alone, which then stops the others in order.
  const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, ...args, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { MALLOC_ARENA_MAX: '2', ...process.env },
    detached: true,
  });
  const pid = child.pid;
  if (pid === undefined) throw new SwarmError('INTERNAL', `could not start the process ${name}`);
  child.stderr.pipe(log);
  /** what it printed last that was no event: an error, if it failed */
  let lastWords = '';
  const seen: RoleEvent[] = [];
  const waiting: { event: string; resolve: (event: RoleEvent) => void }[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    const event = parseEvent(line);
    if (event === null) {
      lastWords = line;
      log.write(`${line}\n`);
      return;
    }
    events.write(`${line}\n`);
    if (!seen.some((s) => s.event === event.event)) seen.push(event);
    for (const w of waiting) if (w.event === event.event) w.resolve(event);
    onEvent(event);
  });
  const exited = new Promise<number>((done) => child.once('close', (code) => done(code ?? -1)));
  const process_: SwarmProcess = {
    name,
    pid,
    exited,
    async first(event) {
      const found = seen.find((s) => s.event === event);
      if (found !== undefined) return found as never;
      return (await Promise.race([
        new Promise<RoleEvent>((resolve) => waiting.push({ event, resolve })),
        exited.then((code) => {
          throw process_.endedWith(code);
        }),
      ])) as never;
    },
    endedWith(code) {
      const log = join(logDir, `${name}.log`);
      const { code: cause = 'INTERNAL', message = '' } = errorIn(lastWords) ?? {};
      const why = message === '' ? '' : `: ${message}`;
      return new SwarmError(cause, `the ${name} ended by itself (code ${code})${why}; see ${log}`, { code, log });
    },
    stop: () => stopChild(child, exited),
    kill: () => void child.kill('SIGKILL'),
  };
  return process_;
}

/** The event of a line; null when it is none. */
function parseEvent(line: string): RoleEvent | null {
  const parsed = parseLine(line) as Partial<RoleEvent> | null;
  return typeof parsed?.event === 'string' ? (parsed as RoleEvent) : null;
}

/** The error that `murmur --json` prints when a command fails. */
function errorIn(line: string): { readonly code?: ErrorCode; readonly message?: string } | undefined {
  return (parseLine(line) as { readonly error?: { readonly code: ErrorCode; readonly message: string } } | null)?.error;
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

async function stopChild(child: ChildProcess, exited: Promise<number>): Promise<number> {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGINT');
  const timer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  const code = await exited;
  clearTimeout(timer);
  return code;
}

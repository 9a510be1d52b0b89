// The `murmur` command as tests run it: real processes with --json, their events as they come, their end by pid.
// Invariant: when the test ends, every process it started is gone, and then the lab's folder too.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { RoleEvent } from '../../node/cli/events.ts';
import { runInProcess } from './run-program.ts';
import type { Ending } from './temp-dir.ts';

/** The entry point of this checkout. */
export const MURMUR_MAIN: string = fileURLToPath(new URL('../../node/cli/main.ts', import.meta.url));

type EventOf<E extends RoleEvent['event']> = Extract<RoleEvent, { event: E }>;

/** How a process ended: its exit code, or null and the signal that killed it. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A `murmur` role that runs. */
export interface MurmurProcess {
  readonly name: string;
  readonly pid: number;
  /** all events so far, in order */
  readonly events: readonly RoleEvent[];
  readonly exited: Promise<Exit>;
  stderr(): string;
  /** the first event of a kind that `where` likes, past or coming; fails when the process ends or `timeoutMs` pass */
  event<E extends RoleEvent['event']>(
    kind: E,
    where?: (event: EventOf<E>) => boolean,
    timeoutMs?: number,
  ): Promise<EventOf<E>>;
  /** Ctrl-C, and the exit that follows; killed and failed after `timeoutMs` */
  interrupt(timeoutMs?: number): Promise<Exit>;
  /** kill -9 */
  kill(): Promise<void>;
}

/** What a command that ends by itself said. */
export interface MurmurRun extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** Ctrl-C as soon as stdout says this */
  readonly interruptOn?: string;
}

/** A folder and the processes of one test. */
export interface MurmurLab {
  readonly dir: string;
  /** data directory of a name in the lab's folder */
  dataDir(name: string): string;
  /** starts a role with `--json --data-dir <dir>/<name>` */
  start(name: string, args: readonly string[]): MurmurProcess;
  /** runs a command to its end; it is killed after a minute, or `timeoutMs` */
  run(args: readonly string[], how?: RunOptions): Promise<MurmurRun>;
  /** runs a command with --json in the test's own process (quick) and parses what it prints; fails unless it exits 0 */
  ask(args: readonly string[]): Promise<unknown>;
  /** runs a command with --json in the test's own process that is to fail. @returns its exit code and the error it tells */
  refused(args: readonly string[]): Promise<Refusal>;
}

/** How a command failed, for machines. */
export interface Refusal {
  readonly exit: number;
  readonly code: string;
  readonly message: string;
}

const EVENT_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;
const RUN_TIMEOUT_MS = 60_000;

/** @param t the lab is taken down when this test ends */
export async function murmurLab(t: Ending): Promise<MurmurLab> {
  const dir = await mkdtemp(join(tmpdir(), 'murmur-lab-'));
  let turn: Promise<unknown> = Promise.resolve();
  let isOver = false;
  const running = new Map<ChildProcess, Promise<Exit>>();
  t.after(async () => {
    isOver = true;
    for (const child of running.keys()) child.kill('SIGKILL');
    await Promise.all(running.values());
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  });
  const launch = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Launched => {
    // A test that ran out of time goes on in the background: it must start nothing more.
    if (isOver) throw new Error('the test is over');
    const child = spawn(process.execPath, [MURMUR_MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, MURMUR_HOME: join(dir, 'home'), ...env },
    });
    const exited = exitOf(child);
    running.set(child, exited);
    void exited.then(() => running.delete(child));
    return { child, exited };
  };
  const run = async (args: readonly string[], how: RunOptions = {}): Promise<MurmurRun> => {
    const { child, exited } = launch(args, how.env);
    const stdout = collect(child.stdout!);
    const stderr = collect(child.stderr!);
    if (how.interruptOn !== undefined) interruptOn(child, how.interruptOn, stdout);
    const timer = setTimeout(() => child.kill('SIGKILL'), how.timeoutMs ?? RUN_TIMEOUT_MS);
    const exit = await exited;
    clearTimeout(timer);
    return { ...exit, stdout: stdout(), stderr: stderr() };
  };
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const answer = turn.then(work);
    turn = answer.catch(() => undefined);
    return answer;
  };
  return {
    dir,
    dataDir: (name) => join(dir, name),
    start: (name, args) => track(name, launch([...args, '--json', '--data-dir', join(dir, name)])),
    run,
    ask: (args) =>
      inTurn(async () => {
        const { code, stdout, stderr } = await runInProcess([...args, '--json']);
        assert.equal(code, 0, `murmur ${args.join(' ')}: ${stderr}${stdout}`);
        return JSON.parse(stdout) as unknown;
      }),
    refused: (args) =>
      inTurn(async () => {
        const { code, stdout } = await runInProcess([...args, '--json']);
        const { error } = JSON.parse(stdout) as { readonly error: Omit<Refusal, 'exit'> };
        return { exit: code, ...error };
      }),
  };
}

interface Launched {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (more: string) => {
    text += more;
  });
  return () => text;
}

function interruptOn(child: ChildProcess, words: string, said: () => string): void {
  const look = (): void => {
    if (!said().includes(words)) return;
    child.stdout!.off('data', look);
    child.kill('SIGINT');
  };
  child.stdout!.on('data', look);
}

function track(name: string, { child, exited }: Launched): MurmurProcess {
  const events: RoleEvent[] = [];
  const stderr = collect(child.stderr!);
  const failed = (what: string): Error => {
    const last = events.slice(-3).map((e) => JSON.stringify(e));
    return new Error(`${name}: ${what}\nlast events: ${last.join('\n')}\nstderr: ${stderr().slice(-3_000)}`);
  };
  return {
    name,
    pid: child.pid!,
    events,
    exited,
    stderr,
    event: watchEvents(child, exited, events, failed),
    async interrupt(timeoutMs = STOP_TIMEOUT_MS) {
      child.kill('SIGINT');
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
      const how = await exited;
      clearTimeout(timer);
      if (how.signal === 'SIGKILL') throw failed(`did not end within ${timeoutMs} ms after Ctrl-C`);
      return how;
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** Fills `events` from the child's stdout; the answer waits for one that suits. */
function watchEvents(
  child: ChildProcess,
  exited: Promise<Exit>,
  events: RoleEvent[],
  failed: (what: string) => Error,
): MurmurProcess['event'] {
  const looking = new Set<() => void>();
  let exit: Exit | null = null;
  const lookAgain = (): void => {
    for (const look of [...looking]) look();
  };
  createInterface({ input: child.stdout! }).on('line', (line) => {
    events.push(JSON.parse(line) as RoleEvent);
    lookAgain();
  });
  void exited.then((how) => {
    exit = how;
    lookAgain();
  });
  return async (kind, where = () => true, timeoutMs = EVENT_TIMEOUT_MS) => {
    const { promise, resolve, reject } = Promise.withResolvers<EventOf<typeof kind>>();
    const look = (): void => {
      const found = events.find((e): e is EventOf<typeof kind> => e.event === kind && where(e as EventOf<typeof kind>));
      if (found !== undefined) resolve(found);
      else if (exit !== null) reject(failed(`ended (${exit.code ?? exit.signal}) before "${kind}"`));
    };
    const timer = setTimeout(() => reject(failed(`no "${kind}" within ${timeoutMs} ms`)), timeoutMs);
    looking.add(look);
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      looking.delete(look);
    }
  };
}

// `murmur demo` as it is typed: a swarm of processes that trains, prints plain lines, ends by itself, leaves nothing running
// and a data directory to look into; and Ctrl-C while it starts. That it learns is for the demo itself to show.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { LIAR } from '../../node/cli/demo/state.ts';
import type { GroupCounts, RoleEvent } from '../../node/cli/events.ts';
import { assertAddsUp } from '../support/adds-up.ts';
import { type MurmurLab, murmurLab } from '../support/murmur-process.ts';

type EventOf<E extends RoleEvent['event']> = Extract<RoleEvent, { event: E }>;

interface Summary {
  readonly seed: number;
  readonly steps: number;
  readonly heldOut: { readonly before: number; readonly after: number; readonly tasks: number };
  readonly groups: GroupCounts;
  readonly honestRejected: number;
  readonly liar: { readonly codes: readonly string[] };
}

/** What a process of the demo said, by kind. */
async function eventsOf<E extends RoleEvent['event']>(dir: string, name: string, kind: E): Promise<EventOf<E>[]> {
  const lines = (await readFile(join(dir, `${name}.jsonl`), 'utf8')).split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line) as RoleEvent).filter((e): e is EventOf<E> => e.event === kind);
}

/** Names of the demo's processes; each has ended, and its data directory can be read. */
async function endedProcesses(lab: MurmurLab, dir: string): Promise<string[]> {
  const names = (await readdir(dir)).filter((name) => name.endsWith('.jsonl')).map((name) => name.slice(0, -6));
  for (const name of names) {
    const status = (await lab.ask(['status', '--data-dir', join(dir, name)])) as { running: boolean };
    assert.equal(status.running, false, name);
  }
  return names.sort();
}

test('a demo of one step: plain lines, a result that adds up, a data directory', { timeout: 240_000 }, async (t) => {
  const lab = await murmurLab(t);
  const dir = join(lab.dir, 'demo');
  const file = join(lab.dir, 'result.json');
  const size = ['--steps', '1', '--nodes', '1', '--eval-tasks', '24', '--seed', '3'];
  const { code, stdout, stderr } = await lab.run(['demo', ...size, '--data-dir', dir, '--json-file', file], {
    timeoutMs: 200_000,
  });
  assert.equal(code, 0, stderr + stdout);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is the point
  assert.doesNotMatch(stdout, /\u001b/);
  for (const line of [/^step 0: held-out accuracy \d/m, /^step 1: reward .* trained/m, /^groups +\d+ announced = /m]) {
    assert.match(stdout, line);
  }
  assert.deepEqual(await endedProcesses(lab, dir), [LIAR, 'node-1', 'trainer', 'verifier']);

  const summary = JSON.parse(await readFile(file, 'utf8')) as Summary;
  assert.deepEqual(Object.keys(summary), [
    ...['seconds', 'seed', 'steps', 'heldOut', 'completionTokens', 'groups', 'honestRejected', 'liar'],
    'tokensPerSecond',
  ]);
  assert.deepEqual([summary.seed, summary.steps, summary.heldOut.tasks, summary.honestRejected], [3, 1, 24, 0]);
  assertAddsUp(summary.groups);
  assert.ok(summary.groups.trained > 0);
  const [evaluated] = await eventsOf(dir, 'trainer', 'evaluation');
  assert.deepEqual([evaluated?.policyStep, evaluated?.accuracy], [0, summary.heldOut.before]);
  const [liar] = await eventsOf(dir, LIAR, 'listening');
  const caughtAt = (await eventsOf(dir, 'verifier', 'rejected')).map(({ peerId, code: why }) => {
    assert.equal(peerId, liar?.peerId);
    return why;
  });
  assert.deepEqual([...summary.liar.codes].sort(), [...new Set(caughtAt)].sort());
  const [heard] = await eventsOf(dir, 'trainer', 'listening');
  assert.match(heard?.network ?? '', /^demo-[0-9a-f]{12}$/);
  assert.ok(heard?.addresses.every((address) => address.startsWith('/ip4/127.0.0.1/')));

  const status = (await lab.ask(['status', '--data-dir', dir])) as { role: string; training: { groups: GroupCounts } };
  assert.deepEqual([status.role, status.training.groups], ['trainer', summary.groups]);
  const again = (await lab.ask(['eval', '--data-dir', dir, '--tasks', '8', '--threads', '1'])) as {
    policyStep: number;
    tasks: number;
  };
  assert.deepEqual([again.policyStep, again.tasks], [1, 8]);
});

test('Ctrl-C while a demo starts stops what has been started', { timeout: 120_000 }, async (t) => {
  const lab = await murmurLab(t);
  const dir = join(lab.dir, 'demo');
  const { code, stderr } = await lab.run(['demo', '--data-dir', dir], { interruptOn: 'Starting 6 processes' });
  assert.equal(code, 130, stderr);
  assert.deepEqual(await endedProcesses(lab, dir), ['trainer']);
});

// `murmur warm-up` as a user runs it: a folder that loads, an interruption that costs nothing, errors by exit code.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { loadModelFolder } from '../../../node/model/folder.ts';
import { runInProcess } from '../../support/run-program.ts';

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'murmur-cli-warm-up-'));
});
after(() => rm(dir, { recursive: true, force: true }));

interface Run {
  readonly child: ChildProcess;
  readonly events: { readonly event: string; readonly step: number; readonly policyRoot: string }[];
  readonly exit: Promise<number | null>;
}

function murmur(args: readonly string[], onEvent: (run: Run) => void = () => undefined): Run {
  const child = spawn(process.execPath, ['node/cli/main.ts', 'warm-up', '--threads', '1', '--json', ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
  const run: Run = { child, events: [], exit };
  createInterface({ input: child.stdout! }).on('line', (line) => {
    run.events.push(JSON.parse(line));
    onEvent(run);
  });
  return run;
}

test('stopped by a signal and run again it ends with the model of an undisturbed run', async () => {
  const flags = ['--batch', '1', '--steps', '40'];
  const straight = murmur([...flags, '--eval-tasks', '2', '--out', join(dir, 'straight')]);
  assert.equal(await straight.exit, 0);
  const stopped = murmur([...flags, '--eval-tasks', '0', '--out', join(dir, 'stopped')], ({ child, events }) => {
    if (events.length === 1) child.kill('SIGINT');
  });
  assert.equal(await stopped.exit, 130);
  const { event, step } = stopped.events.at(-1)!;
  assert.equal(event, 'interrupted');
  assert.ok(step >= 20 && step < 40);
  assert.deepEqual(await readdir(join(dir, 'stopped.checkpoints')), [`step-${step}`]);
  const resumed = murmur([...flags, '--eval-tasks', '0', '--out', join(dir, 'stopped')]);
  assert.equal(await resumed.exit, 0);
  assert.equal(resumed.events.at(-1)!.policyRoot, straight.events.at(-1)!.policyRoot);
  assert.ok(resumed.events.every((later) => later.step === undefined || later.step > step));

  const folder = join(dir, 'straight');
  assert.deepEqual((await readdir(folder)).sort(), [
    'README.md',
    'config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  assert.equal((await loadModelFolder(folder)).config.layers, 4);
  assert.ok((await stat(join(folder, 'model.safetensors'))).size < 4 * 2 ** 20);
  assert.match(await readFile(join(folder, 'README.md'), 'utf8'), /murmur warm-up --recipe arrows --seed 1 --steps 40/);
  await assert.rejects(stat(join(dir, 'stopped.checkpoints')));
});

test('what cannot be run says so by its exit code', async () => {
  const exit = async (...args: readonly string[]): Promise<number> =>
    (await runInProcess(['warm-up', ...args, '--out', join(dir, 'x')])).code;
  assert.equal(await exit('--recipe', 'no-such-recipe'), 3);
  assert.equal(await exit('--learning-rate', 'fast'), 2);
  assert.equal(await exit('--base', join(dir, 'nowhere')), 4);
});

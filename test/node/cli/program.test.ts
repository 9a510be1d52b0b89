// The command line as a newcomer meets it: help with examples, wrong usage, errors for machines.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { createProgram } from '../../../node/cli/program.ts';
import { SHIPPED_RECIPES } from '../../../node/cli/shipped.ts';
import { createStore } from '../../../node/store/store.ts';
import { commandLines, parsedCommand } from '../../support/command-line.ts';
import { runInProcess } from '../../support/run-program.ts';
import { silentLogger } from '../../support/silent-logger.ts';
import { tempDir } from '../../support/temp-dir.ts';

const COMMANDS: readonly string[] = [
  ...['chat', 'demo', 'node', 'train', 'verify', 'submit', 'continue', 'recipes', 'status', 'peers'],
  ...['rollouts', 'verdicts', 'weights', 'replay', 'eval', 'export', 'warm-up', 'calibrate', 'devices', 'id'],
];

test('the commands are those that are documented', () => {
  assert.deepEqual(
    createProgram()
      .commands.map((command) => command.name())
      .sort(),
    [...COMMANDS].sort(),
  );
});

test('--help of every command exits 0 and shows an example of itself', async () => {
  const main = await runInProcess(['--help']);
  assert.equal(main.code, 0);
  assert.match(main.stdout, /Exit codes:/);
  for (const name of COMMANDS) {
    const { code, stdout, stderr } = await runInProcess([name, '--help']);
    assert.equal(code, 0, name);
    assert.equal(stderr, '');
    assert.match(stdout, new RegExp(`Examples:\\n( .*\\n)*? *murmur ${name}`), name);
    for (const line of stdout.split('\n')) assert.ok(line.length <= 80, `${name}: ${line}`);
    assert.match(main.stdout, new RegExp(`^ {2}${name} `, 'm'));
  }
  const version = await runInProcess(['--version']);
  assert.equal(version.code, 0);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
});

test('every example of --help and of the README is taken as it stands', async () => {
  for (const name of COMMANDS) {
    const examples = commandLines((await runInProcess([name, '--help'])).stdout.split('Examples:')[1]!);
    assert.ok(examples.length > 0, name);
    for (const words of examples) await parsedCommand(words);
  }
  const readme = await readFile(new URL('../../../README.md', import.meta.url), 'utf8');
  const spans = [...readme.matchAll(/`murmur ([a-z][^`]*)`/g)].map(([, line]) => line!.split(' '));
  for (const words of [...spans.filter((each) => each.length > 1), ...commandLines(readme)]) await parsedCommand(words);
  for (const [name] of spans) assert.ok(COMMANDS.includes(name!), name);
});

test('every inspecting command takes a data directory, or looks as an observer', async () => {
  for (const name of ['recipes', 'status', 'peers', 'rollouts', 'verdicts', 'weights']) {
    const flags = ['--data-dir', '/d', '--join', 'a', '--network', 'n', '--loopback', '--recipe', 'r', '--limit', '7'];
    const { options } = await parsedCommand([name, ...flags, '--json']);
    const read = { dataDir: '/d', join: ['a'], network: 'n', loopback: true, recipe: 'r', limit: 7, json: true };
    assert.deepEqual({ ...options }, read, name);
  }
});

test('help gives sizes with their units, and no default that says nothing', async () => {
  const { stdout } = await runInProcess(['node', '--help']);
  for (const size of ['10GB', '2GB']) assert.match(stdout, new RegExp(`\\(default:\\s+${size}\\)`), size);
  assert.doesNotMatch(stdout, /default:\s+(false|\[\])/);
  for (const name of COMMANDS) {
    const help = (await runInProcess([name, '--help'])).stdout;
    assert.doesNotMatch(help, /default:\s+("\/|\[|\d{7})|; default/, name);
  }
});

test('help names every shipped recipe', async () => {
  const files = await readdir('recipes', { recursive: true });
  const shipped = files
    .filter((file) => /^\w+.recipe\.yaml$/.test(file))
    .map((file) => file.slice(0, -'/recipe.yaml'.length));
  assert.deepEqual(SHIPPED_RECIPES.split(', ').sort(), shipped.sort());
});

test('what prints something can print JSON', () => {
  const plain = createProgram().commands.filter((c) => !c.options.some((option) => option.long === '--json'));
  // The demo is for the eye; --json-file gives its result.
  assert.deepEqual(
    plain.map((command) => command.name()),
    ['demo'],
  );
});

test('wrong usage exits 2 and says how to get help', async () => {
  const wrong = [
    [],
    ['no-such-command'],
    ['status', '--no-such-flag'],
    ['node', '--port', 'http'],
    ['node', '--port', '65535'],
    ['node', '--memory', 'much'],
    ['node', '--threads', '0'],
    ['train', '--device', 'tpu'],
    ['node', '--log-level', 'loud'],
    ['node', '--data-dir'],
    ['train', '--accept', 'some'],
    ['submit'],
    ['rollouts', 'a', 'b'],
    ['verdicts', '--limit', '0'],
    ['eval', '--tasks', '-5'],
    ['demo', '--nodes', '0'],
    ['demo', '--nodes', '33'],
    ['demo', '--goal', '1.5'],
    ['warm-up', '--batch', 'x'],
    ['warm-up', '--learning-rate', '0'],
    ['calibrate', '--threads', '1,x'],
    ['calibrate', '--lies', 'none-such'],
  ];
  for (const args of wrong) {
    const { code, stderr } = await runInProcess(args);
    assert.equal(code, 2, args.join(' '));
    const help = COMMANDS.includes(args[0]!) ? `(see murmur ${args[0]} --help)` : 'murmur --help';
    assert.ok(args.length === 0 ? stderr.includes('Usage: murmur') : stderr.includes(help), stderr);
  }
});

test('addresses, network names and lies are refused before anything is started', async (t) => {
  const dir = await tempDir(t);
  const refused: readonly (readonly [string, readonly string[]])[] = [
    ['BAD_ADDRESS', ['node', '--join', 'example.org:4001']],
    ['BAD_ADDRESS', ['node', '--host', 'localhost']],
    ['BAD_ADDRESS', ['node', '--host', '::1']],
    ['USAGE', ['node', '--network', 'no/slash']],
    ['USAGE', ['node', '--alter-weights', '0.1']],
    ['USAGE', ['node', '--loopback', '--alter-weights', '0.1', '--join', '/ip4/192.0.2.1/tcp/4001']],
    ['USAGE', ['node', '--loopback', '--alter-weights', 'much']],
    ['USAGE', ['train', '--deterministic', '--threads', '2']],
  ];
  for (const [code, args] of refused) {
    const run = await runInProcess([...args, '--data-dir', dir, '--json', '--log-level', 'error']);
    assert.equal(run.code, 2, args.join(' '));
    assert.equal((JSON.parse(run.stdout) as { error: { code: string } }).error.code, code, args.join(' '));
  }
});

test('errors are JSON on stdout with --json, and one line for people on stderr', async (t) => {
  const dir = await tempDir(t);
  const machine = await runInProcess(['status', '--data-dir', dir, '--json']);
  assert.equal(machine.code, 3);
  const { error } = JSON.parse(machine.stdout) as { error: { code: string; message: string } };
  assert.equal(error.code, 'NO_RUNNING_NODE');
  assert.equal(machine.stderr, `murmur: ${error.message} (NO_RUNNING_NODE)\n`);
  const person = await runInProcess(['status', '--data-dir', dir]);
  assert.deepEqual([person.code, person.stdout, person.stderr], [3, '', machine.stderr]);
  const usage = await runInProcess(['status', '--json', '--no-such-flag']);
  assert.equal(usage.code, 2);
  assert.equal((JSON.parse(usage.stdout) as { error: { code: string } }).error.code, 'USAGE');
});

test('looking where nothing ever ran leaves nothing behind', async (t) => {
  const dir = await tempDir(t);
  for (const command of ['status', 'peers', 'recipes', 'rollouts', 'verdicts', 'weights', 'eval']) {
    const { code } = await runInProcess([command, '--data-dir', dir]);
    assert.equal(code, 3, command);
  }
  assert.deepEqual(await readdir(dir), []);
});

test('id makes a key once and shows it again', async (t) => {
  const dir = await tempDir(t);
  const first = await runInProcess(['id', '--data-dir', dir, '--json']);
  assert.equal(first.code, 0);
  const shown = JSON.parse(first.stdout) as { publicKey: string; peerId: string; dataDir: string };
  assert.match(shown.publicKey, /^[0-9a-f]{64}$/);
  assert.match(shown.peerId, /^12D3Koo/);
  assert.equal(shown.dataDir, dir);
  const again = await runInProcess(['id', '--data-dir', dir]);
  assert.match(again.stdout, new RegExp(shown.publicKey));
  // As a running node has it.
  const store = await createStore({ dir, maxDiskBytes: 1e6, logger: silentLogger });
  const beside = await runInProcess(['id', '--data-dir', dir]);
  await store.close();
  assert.deepEqual([beside.code, beside.stdout], [0, again.stdout]);
});

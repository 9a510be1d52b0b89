// The package as others get it: packed, unpacked elsewhere, its bin run from there, also by a Node that is too old.
// The dependencies are those of this checkout, linked: what is tested is what the tarball must bring itself.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const exec = promisify(execFile);

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(file: string, args: readonly string[], more: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const env = { ...process.env, MURMUR_HOME: join(dir, 'home'), ...more };
  try {
    const { stdout, stderr } = await exec(file, [...args], { cwd: dir, env, maxBuffer: 64 * 1024 * 1024 });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as unknown as Ran;
    return { code, stdout, stderr };
  }
}

let dir: string;
let bin: string;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'murmur-package-'));
  await exec('npm', ['pack', '--pack-destination', dir, '--no-update-notifier'], {
    cwd: ROOT,
    maxBuffer: 64 * 1024 * 1024,
  });
  const [tarball] = (await readdir(dir)).filter((name) => name.endsWith('.tgz'));
  assert.ok(tarball !== undefined);
  const modules = join(dir, 'node_modules');
  await mkdir(join(modules, '.bin'), { recursive: true });
  await exec('tar', ['-xzf', join(dir, tarball), '-C', modules]);
  const home = join(modules, 'package');
  await symlink(join(ROOT, 'node_modules'), join(home, 'node_modules'));
  const { bin: bins } = JSON.parse(await readFile(join(home, 'package.json'), 'utf8')) as {
    readonly bin: { readonly murmur: string };
  };
  bin = join(modules, '.bin', 'murmur');
  await symlink(join(home, bins.murmur), bin);
});

after(() => rm(dir, { recursive: true, force: true, maxRetries: 3 }));

test('the tarball holds what runs and nothing else', async () => {
  const home = join(dir, 'node_modules', 'package');
  assert.deepEqual((await readdir(home)).sort(), [
    ...['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'node', 'node_modules', 'package.json', 'recipes'],
  ]);
  assert.deepEqual((await readdir(join(home, 'recipes'))).sort(), [
    ...['arrows', 'largest', 'recipe.schema.json', 'sorting', 'starter', 'sums'],
  ]);
  const built = await readdir(join(home, 'dist'), { recursive: true });
  assert.ok(built.includes(join('node', 'cli', 'main.js')));
  assert.deepEqual(
    built.filter((name) => name.endsWith('.ts') || name.startsWith('test')),
    [],
  );
});

test('no built file imports a TypeScript source', async () => {
  const dist = join(dir, 'node_modules', 'package', 'dist');
  for (const name of await readdir(dist, { recursive: true })) {
    if (!name.endsWith('.js')) continue;
    const imports = (await readFile(join(dist, name), 'utf8')).match(/(?:from|import\()\s*'\.[^']*\.ts'/g);
    assert.equal(imports, null, name);
  }
});

test('its bin shows help, makes a key, and evaluates the starter model in worker threads', async () => {
  const help = await run(process.execPath, [bin, '--help']);
  assert.equal(help.code, 0, help.stderr);
  assert.match(help.stdout, /Usage: murmur/);
  const id = await run(process.execPath, [bin, 'id', '--json'], { NODE_DEBUG_NATIVE: 'COMPILE_CACHE' });
  assert.equal(id.code, 0, id.stderr);
  assert.match(id.stderr, /reading cache from .*compiled.* for ESM file:.*\/dist\/node\/cli\/program\.js/);
  assert.match(JSON.parse(id.stdout).publicKey, /^[0-9a-f]{64}$/);
  const starter = join(dir, 'node_modules', 'package', 'recipes', 'starter');
  const flags = ['--model', starter, '--recipe', 'arrows', '--tasks', '4', '--threads', '1', '--json'];
  const evaluated = await run(process.execPath, [bin, 'eval', ...flags]);
  assert.equal(evaluated.code, 0, evaluated.stderr);
  assert.equal(JSON.parse(evaluated.stdout).tasks, 4);
});

test('the training engine finds its worker too', async () => {
  const flags = ['--steps', '2', '--batch', '1', '--eval-tasks', '0', '--threads', '1', '--json'];
  const warmUp = await run(process.execPath, [bin, 'warm-up', '--out', join(dir, 'model'), ...flags]);
  assert.equal(warmUp.code, 0, warmUp.stderr);
  assert.ok(existsSync(join(dir, 'model', 'model.safetensors')));
});

const TOO_OLD = /^murmur needs Node 22\.18 or newer, this is \d+\.\d+\.\d+; .*\n$/;

test('an older Node is told so in one line', async () => {
  const pretend = join(dir, 'pretend.cjs');
  for (const version of ['18.20.4', '20.20.2', '22.17.1']) {
    await writeFile(
      pretend,
      `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } });\n`,
    );
    const { code, stdout, stderr } = await run(process.execPath, ['--require', pretend, bin, 'status']);
    assert.deepEqual([code, stdout], [1, ''], version);
    assert.match(stderr, TOO_OLD);
    assert.ok(stderr.includes(version));
  }
});

test('also by a real one, where there is one', async (t) => {
  const old = await olderNode();
  if (old === undefined) return t.skip('no Node older than 22.18 on PATH');
  const { code, stderr } = await run(old, [bin, '--help']);
  assert.equal(code, 1);
  assert.match(stderr, TOO_OLD);
});

/** A Node on PATH that is too old for us. */
async function olderNode(): Promise<string | undefined> {
  const found = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'node'));
  for (const node of found.filter((path) => existsSync(path))) {
    const { stdout } = await run(node, ['--version']);
    const [major = 0, minor = 0] = stdout.slice(1).split('.').map(Number);
    if (major >= 14 && (major < 22 || (major === 22 && minor < 18))) return node;
  }
  return undefined;
}

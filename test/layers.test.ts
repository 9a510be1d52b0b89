// The layers of shared/design.md as the linter holds them: one run of Biome, with this repository's rules, over a small tree
// of files that import what they may and what they may not.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tempDir } from './support/temp-dir.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** importer, imported */
type Import = readonly [string, string];

/** Leaves import node/protocol and node/model/graph; recipes import leaves; no service imports another; only the CLI wires. */
const FORBIDDEN: readonly Import[] = [
  ['node/protocol/a.ts', 'node/store/store.ts'],
  ['node/protocol/b.ts', 'node/model/config.ts'],
  ['node/model/a.ts', 'recipes/schema.ts'],
  ['node/model/engine/b.ts', 'node/rollout/worker.ts'],
  ['trainer/autodiff/a.ts', 'node/model/engine/engine.ts'],
  ['trainer/autodiff/rules/b.ts', 'trainer/pool.ts'],
  ['trainer/grpo/a.ts', 'trainer/pool.ts'],
  ['trainer/optim/a.ts', 'recipes/schema.ts'],
  ['verifier/toploc/a.ts', 'verifier/intake.ts'],
  ['verifier/toploc/b.ts', 'verifier/checks/replay.ts'],
  ['recipes/a.ts', 'node/network/host.ts'],
  ['recipes/tasks/b.ts', 'trainer/pool.ts'],
  ['node/network/a.ts', 'node/store/store.ts'],
  ['node/store/a.ts', 'node/network/host.ts'],
  ['node/rollout/a.ts', 'node/network/host.ts'],
  ['node/rollout/b.ts', 'verifier/intake.ts'],
  ['trainer/a.ts', 'verifier/intake.ts'],
  ['trainer/engine/b.ts', 'shardcast/fetch.ts'],
  ['verifier/a.ts', 'trainer/pool.ts'],
  ['verifier/checks/b.ts', 'node/store/store.ts'],
  ['shardcast/a.ts', 'node/network/host.ts'],
  ['shardcast/b.ts', 'node/cli/program.ts'],
];

const ALLOWED: readonly Import[] = [
  ['trainer/autodiff/ok.ts', 'node/model/graph/builder.ts'],
  ['trainer/autodiff/rules/ok.ts', 'trainer/autodiff/tape.ts'],
  ['verifier/toploc/ok.ts', 'node/protocol/errors.ts'],
  ['node/model/ok.ts', 'node/protocol/errors.ts'],
  ['recipes/ok.ts', 'node/protocol/errors.ts'],
  ['verifier/ok.ts', 'recipes/schema.ts'],
  ['trainer/ok.ts', 'trainer/grpo/losses.ts'],
  ['node/rollout/ok.ts', 'verifier/toploc/proof.ts'],
  ['node/cli/ok.ts', 'trainer/pool.ts'],
];

interface Report {
  readonly diagnostics: readonly { readonly category: string; readonly location: { readonly path: unknown } }[];
}

/** Paths of the files that break a rule of `category`. */
async function offenders(dir: string, category: string): Promise<Set<string>> {
  const biome = join(ROOT, 'node_modules', '@biomejs', 'biome', 'bin', 'biome');
  const args = [biome, 'lint', '--reporter=json', '--max-diagnostics=none', '.'];
  const stdout = await new Promise<string>((resolve) => {
    execFile(process.execPath, args, { cwd: dir, maxBuffer: 2 ** 26 }, (_error, out) => resolve(out));
  });
  const { diagnostics } = JSON.parse(stdout) as Report;
  const pathOf = (path: unknown): string =>
    typeof path === 'string' ? path : (path as { readonly file: string }).file;
  const found = diagnostics.filter((each) => each.category === category).map(({ location }) => pathOf(location.path));
  return new Set(found.map((path) => path.replace(/^\.\//, '')));
}

async function write(dir: string, file: string, text: string): Promise<void> {
  await mkdir(dirname(join(dir, file)), { recursive: true });
  await writeFile(join(dir, file), text);
}

test('an import across the layers is an error of the linter, one within them is not', async (t) => {
  const dir = await tempDir(t);
  const { vcs: _, ...config } = JSON.parse(await readFile(join(ROOT, 'biome.json'), 'utf8')) as Record<string, unknown>;
  await write(dir, 'biome.json', JSON.stringify({ ...config, $schema: undefined }));
  for (const [, file] of [...FORBIDDEN, ...ALLOWED]) await write(dir, file, 'export const x = 1;\n');
  for (const [from, to] of [...FORBIDDEN, ...ALLOWED]) {
    const path = relative(dirname(from), to);
    const specifier = path.startsWith('.') ? path : `./${path}`;
    await write(dir, from, `import { x } from '${specifier}';\n\nexport const y = x;\n`);
  }
  const found = await offenders(dir, 'lint/style/noRestrictedImports');
  assert.deepEqual([...found].sort(), FORBIDDEN.map(([from]) => from).sort());
});

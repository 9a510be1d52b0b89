// `npm run test:vectors -- DIR`: every test that reads reference vectors, on the folder DIR (default test/vectors).
// The layout is in test/vectors/README.md. Which test files those are is read off their imports, so a new one joins by itself.
// Exit codes: 0 all passed, 1 a test failed, 2 the folder is missing, incomplete or unlike the layout.

import { spawn } from 'node:child_process';
import { existsSync, globSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');

/** Modules through which tests reach the vectors; a file that imports one, or reads the variable itself, is a vector test. */
const READS_VECTORS = /support\/(vectors-dir|model-vectors|grpo-vectors)\.ts'|MURMUR_VECTORS/;

const FILES = ['rollouts.json', 'toploc.json', 'grpo.json'];
const MODEL_FILES = ['config.json', 'expected.json', 'expected.safetensors'];
const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json', 'expected.json'];

/** What DIR lacks, in words; [] when it is whole. */
function problemsOf(dir: string): string[] {
  if (!existsSync(dir) || !statSync(dir).isDirectory()) return [`${dir} is no folder`];
  const problems = FILES.filter((name) => !existsSync(join(dir, name))).map((name) => `${name} is missing`);
  for (const [kind, files] of [
    ['models', MODEL_FILES],
    ['tokenizers', TOKENIZER_FILES],
  ] as const) {
    const folder = join(dir, kind);
    const names = existsSync(folder) ? readdirSync(folder) : [];
    if (names.length === 0) problems.push(`${kind}/ is missing or empty`);
    for (const name of names) {
      const found = new Set(readdirSync(join(folder, name)));
      for (const file of files) if (!found.has(file)) problems.push(`${kind}/${name}/${file} is missing`);
      const isWeights = (file: string): boolean => file.startsWith('model') && file.endsWith('.safetensors');
      if (kind === 'models' && ![...found].some(isWeights)) {
        problems.push(`models/${name} has no model*.safetensors`);
      }
    }
  }
  return problems;
}

/** Test files that read the vectors, as paths from the repository's root. */
function vectorTests(): string[] {
  return globSync('test/**/*.test.ts', { cwd: ROOT })
    .filter((file) => READS_VECTORS.test(readFileSync(join(ROOT, file), 'utf8')))
    .sort();
}

/** npm changes to the package's folder; a relative DIR is meant from where the user is. */
function startFolder(): string {
  const isNpmScript = process.env['npm_lifecycle_event'] === 'test:vectors';
  return (isNpmScript && process.env['INIT_CWD']) || process.cwd();
}

function fail(lines: readonly string[]): never {
  for (const line of lines) console.error(line);
  process.exit(2);
}

const args = process.argv.slice(2);
if (args.length > 1 || args[0]?.startsWith('-'))
  fail(['usage: npm run test:vectors -- [DIR]   (default test/vectors)']);
const dir = args[0] === undefined ? join(ROOT, 'test', 'vectors') : resolve(startFolder(), args[0]);
const problems = problemsOf(dir);
if (problems.length > 0) {
  fail(['This is no folder of reference vectors (layout: test/vectors/README.md):', ...problems.map((p) => `  ${p}`)]);
}
const files = vectorTests();
console.log(`vectors of ${dir}, ${files.length} test files`);
const child = spawn(process.execPath, ['--test', '--test-timeout=120000', ...files], {
  cwd: ROOT,
  env: { ...process.env, MURMUR_VECTORS: dir },
  stdio: 'inherit',
});
child.on('exit', (code) => {
  process.exitCode = code === 0 ? 0 : 1;
});

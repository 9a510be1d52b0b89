// What a clone stands on: pinned packages whose install scripts are decided on, the shipped starter model, a README whose
// links lead somewhere.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { starterModelDir } from '../node/cli/shipped.ts';
import { parseModelConfig } from '../node/model/config.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Package {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly allowScripts: Readonly<Record<string, boolean>>;
}

interface LockedPackage {
  readonly hasInstallScript?: boolean;
  readonly resolved?: string;
}

interface Lock {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

test('packages are pinned, come from the registry, and run a script at install time only where it is wanted', () => {
  const { dependencies, devDependencies, allowScripts } = JSON.parse(read('package.json')) as Package;
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    assert.match(version, /^(npm:@[\w./-]+@)?\d+\.\d+\.\d+(-[\w.]+)?$/, `${name} ${version}`);
  }
  const locked = Object.entries((JSON.parse(read('package-lock.json')) as Lock).packages).filter(([path]) => path);
  // Without an address of its own a package comes from whichever registry npm is told to use.
  for (const [path, { resolved }] of locked) {
    if (resolved !== undefined) assert.match(resolved, /^https:\/\/registry\.npmjs\.org\//, path);
  }
  const scripted = locked.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path);
  const names = new Set(scripted.map((path) => path.split('node_modules/').at(-1)!));
  assert.deepEqual([...names].sort(), Object.keys(allowScripts).sort());
  // It would download CUDA libraries from elsewhere, and fail where it cannot.
  assert.equal(allowScripts['onnxruntime-node'], false);
  assert.match(read('.npmrc'), /^onnxruntime-node-install=skip$/m);
});

test('the starter is a Hugging Face folder under 4 MiB in bf16, with a card that says how to make it again', () => {
  const dir = starterModelDir();
  const files = readdirSync(dir);
  assert.deepEqual(files.sort(), [
    ...['README.md', 'config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'],
  ]);
  assert.ok(files.reduce((sum, name) => sum + statSync(join(dir, name)).size, 0) < 4 * 1024 * 1024);
  const file = readFileSync(join(dir, 'model.safetensors'));
  const header = JSON.parse(file.toString('utf8', 8, 8 + Number(file.readBigUInt64LE(0)))) as Record<
    string,
    { readonly dtype?: string }
  >;
  const types = Object.entries(header).filter(([name]) => name !== '__metadata__');
  assert.ok(types.length > 0 && types.every(([, { dtype }]) => dtype === 'BF16'));
  const config = parseModelConfig(JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8')));
  assert.deepEqual([config.hiddenSize, config.layers, config.vocabSize], [128, 4, 32]);
  assert.match(readFileSync(join(dir, 'README.md'), 'utf8'), /^murmur warm-up --recipe arrows --seed \d+/m);
});

test('every link of the README to a file leads to one', () => {
  const links = [...read('README.md').matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, path]) => path!);
  assert.ok(links.length > 20);
  for (const path of links) assert.ok(existsSync(join(ROOT, path)), path);
});

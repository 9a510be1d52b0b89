// SwiftShader, Vulkan in software: what Debian's package chromium brings, so that WebGPU runs where no GPU is.
// The loader of the same package is found through LD_LIBRARY_PATH, which counts from a process's start only: a test file
// that opens a WebGPU session runs itself once more, in a process that has it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';

const FOLDER = '/usr/lib/chromium';
const DRIVER = `${FOLDER}/vk_swiftshader_icd.json`;

/** Environment of a process whose WebGPU adapter is SwiftShader. */
export const SWIFTSHADER_ENV: Readonly<Record<string, string>> = { VK_DRIVER_FILES: DRIVER, LD_LIBRARY_PATH: FOLDER };

/** Why tests on SwiftShader are skipped; false where they are not. */
export const noSwiftShader: string | false = existsSync(DRIVER)
  ? false
  : `SwiftShader is not here (${DRIVER}): apt-get install chromium`;

/** Defines the tests of `file` in a process of its own that has SwiftShader; skips them, in words, where there is none. */
export function onSwiftShader(file: string, define: () => void): void {
  if (process.env['VK_DRIVER_FILES'] === DRIVER && process.env['LD_LIBRARY_PATH'] === FOLDER) {
    define();
    return;
  }
  test(`${basename(file)} on SwiftShader`, { skip: noSwiftShader }, async (t) => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const child = spawn(process.execPath, ['--test', '--test-reporter=spec', file], {
      env: { ...env, ...SWIFTSHADER_ENV },
      signal: t.signal,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data.toString()));
    const code = await new Promise((done) => child.once('close', done));
    assert.equal(code, 0, output);
  });
}

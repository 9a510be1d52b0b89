// messages_pb.ts is what `npm run generate` makes of messages.proto: a change of one without the other is found here.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { promisify } from 'node:util';
import { tempDir } from '../../support/temp-dir.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

it('messages_pb.ts is up to date with messages.proto', async (t) => {
  const dir = await tempDir(t);
  const config = await readFile(join(ROOT, 'node/protocol/buf.gen.yaml'), 'utf8');
  await writeFile(join(dir, 'buf.gen.yaml'), config.replace('out: node/protocol', `out: ${JSON.stringify(dir)}`));
  const bin = join(ROOT, 'node_modules', '.bin');
  await promisify(execFile)(join(bin, 'buf'), ['generate', '--template', join(dir, 'buf.gen.yaml')], {
    cwd: ROOT,
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
  });
  const made = await readFile(join(dir, 'messages_pb.ts'), 'utf8');
  assert.equal(made, await readFile(join(ROOT, 'node/protocol/messages_pb.ts'), 'utf8'));
});

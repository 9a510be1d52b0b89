// Peers that nobody told an address find each other on the local network (mDNS): a network namespace with one link of its own
// is that network, and the test runs itself once more inside it.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { murmurLab } from '../support/murmur-process.ts';
import { TINY_RECIPE } from '../support/ring.ts';

const run = promisify(execFile);
const INSIDE = 'MURMUR_TEST_LOCAL_NETWORK';
const LINK =
  'ip link set lo up && ip link add lan0 type veth peer name lan1 && ip addr add 10.77.0.1/24 dev lan0 && ' +
  'ip link set lan1 up && ip link set lan0 up && ip route add 224.0.0.0/4 dev lan0';

async function meet(t: TestContext): Promise<void> {
  const lab = await murmurLab(t);
  const recipe = join(lab.dir, 'recipe.yaml');
  await writeFile(recipe, TINY_RECIPE);
  const flags = ['--network', 'lan', '--threads', '1'];
  const node = lab.start('node', ['node', ...flags]);
  await node.event('listening');
  lab.start('trainer', ['train', ...flags, '--recipe', recipe, '--eval-every', '0']);
  await node.event('policy');
}

test('a node without --join works for the trainer on its local network', { timeout: 120_000 }, async (t) => {
  if (process.env[INSIDE] === 'yes') return await meet(t);
  const unshare = (...args: string[]) =>
    run('unshare', ['-rn', 'sh', '-c', `${LINK} && exec "$@"`, 'sh', ...args], { env: { ...env, [INSIDE]: 'yes' } });
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const isAllowed = await unshare('true').then(
    () => true,
    () => false,
  );
  if (!isAllowed) return t.skip('this system does not let us make a network namespace');
  const inside = await unshare(process.execPath, import.meta.filename).catch((error: { stdout: string }) => error);
  assert.ok(!(inside instanceof Error), inside.stdout);
});

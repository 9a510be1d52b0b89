// What goes wrong on a user's machine: ports and directories in use, peers that do not answer, Ctrl-C at any moment.

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { murmurLab } from '../support/murmur-process.ts';
import { askUntil, RING_FLAGS } from '../support/ring.ts';

/** A port of this machine that somebody listens on until the test ends. */
async function takenPort(t: TestContext): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => void server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null && address.port < 65_535);
  return address.port;
}

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

test('a port in use is named, by code and exit code', async (t) => {
  const lab = await murmurLab(t);
  const port = await takenPort(t);
  const flags = ['node', ...RING_FLAGS, '--port', String(port), '--data-dir', lab.dataDir('node')];
  const { exit, code, message } = await lab.refused(flags);
  assert.deepEqual([exit, code], [5, 'PORT_IN_USE']);
  assert.ok(message.includes(String(port)), message);
});

test('a peer that does not answer is tried again, with a notice; too little disk is told; a directory in use is refused meanwhile', async (t) => {
  const lab = await murmurLab(t);
  const nobody = `/ip4/127.0.0.1/tcp/${await freePort()}`;
  const node = lab.start('node', ['node', ...RING_FLAGS, '--join', nobody, '--max-disk', '999999GB']);
  await node.event('listening');
  await node.event('notice', ({ text }) => text.includes('--max-disk is 999999.0 GB'));
  const [again, status, first] = await Promise.all([
    lab.refused(['node', ...RING_FLAGS, '--data-dir', lab.dataDir('node')]),
    askUntil<{ running: boolean; role: string }>(lab, 'node', 'status', () => true),
    node.event('notice', ({ text }) => text.includes(nobody)),
    node.event('notice', ({ text }) => text.includes('retrying in 2 s')),
  ]);
  assert.match(first.text, /cannot reach .*retrying in 1 s/);
  assert.deepEqual([status.running, status.role], [true, 'node']);
  assert.deepEqual([again.exit, again.code], [5, 'DATA_DIR_IN_USE']);
  assert.ok(again.message.includes(String(node.pid)), again.message);
  assert.deepEqual(await node.interrupt(), { code: 0, signal: null });
});

test('Ctrl-C in the middle of starting ends cleanly too, and the directory can be read', async (t) => {
  const lab = await murmurLab(t);
  const endEarly = async (role: string, ...more: string[]): Promise<void> => {
    const early = lab.start(role, [role, ...RING_FLAGS, ...more]);
    await early.event('listening');
    assert.deepEqual(await early.interrupt(), { code: 0, signal: null }, role);
    const status = (await lab.ask(['status', '--data-dir', lab.dataDir(role)])) as { running: boolean };
    assert.equal(status.running, false, role);
  };
  await Promise.all([endEarly('train', '--recipe', 'arrows'), endEarly('verify')]);
});

test('an observer on a network that its peer knows no recipe of is told so, and what to check', async (t) => {
  const lab = await murmurLab(t);
  const node = lab.start('node', ['node', ...RING_FLAGS]);
  const { addresses } = await node.event('listening');
  const looked = await lab.run(['status', '--json', '--join', addresses[0]!, '--network', 'other', '--loopback']);
  assert.equal(looked.code, 0, looked.stderr);
  assert.match(looked.stderr, /no recipe is known on network other there; is it another --network\?/);
  assert.doesNotThrow(() => JSON.parse(looked.stdout));
});

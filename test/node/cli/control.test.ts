// The control socket: what is asked is answered, and whatever else arrives costs its own connection only.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, stat, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { askControl, type ControlHandler, controlSocketPath, serveControl } from '../../../node/cli/control.ts';
import { isSwarmError, SwarmError } from '../../../node/protocol/errors.ts';
import { tempDir } from '../../support/temp-dir.ts';

const HANDLERS: Readonly<Record<string, ControlHandler>> = {
  echo: async (params) => params,
  nothing: async () => undefined,
  refuses: async () => {
    throw new SwarmError('NOT_FOUND', 'no such thing');
  },
  breaks: async () => {
    throw new Error('out of order');
  },
};

async function served(t: TestContext, dataDir?: string): Promise<string> {
  const dir = dataDir ?? (await tempDir(t));
  const control = await serveControl(dir, HANDLERS);
  t.after(() => control.close());
  return dir;
}

/** Sends bytes as they are; gives what came back until the server or `until` ended it. */
async function raw(dir: string, bytes: string | Uint8Array, until: RegExp = /\n$/): Promise<string> {
  const socket = connect(controlSocketPath(dir));
  socket.on('error', () => {
    // A server that hangs up while we write is what some of the tests are about.
  });
  let text = '';
  socket.setEncoding('utf8');
  socket.on('data', (more: string) => {
    text += more;
    if (until.test(text)) socket.destroy();
  });
  socket.write(bytes);
  await new Promise((done) => socket.once('close', done));
  return text;
}

test('a question comes back with its answer, also through a socket that only its owner may use', async (t) => {
  const dir = await served(t);
  const params = { text: 'ä\u2028\n"', list: [1, null, { deep: true }] };
  assert.deepEqual(await askControl(dir, 'echo', params), params);
  assert.equal(await askControl(dir, 'nothing'), null);
  assert.equal((await stat(controlSocketPath(dir))).mode & 0o777, 0o600);
});

test('errors arrive with their code', async (t) => {
  const dir = await served(t);
  await assert.rejects(
    askControl(dir, 'refuses'),
    (e) => isSwarmError(e, 'NOT_FOUND') && e.message === 'no such thing',
  );
  await assert.rejects(askControl(dir, 'breaks'), (e) => isSwarmError(e, 'CONTROL_FAILED'));
  for (const method of ['no-such-method', 'constructor', '__proto__', 'toString', '']) {
    await assert.rejects(askControl(dir, method), (e) => isSwarmError(e, 'CONTROL_FAILED'), method);
  }
});

test('garbage is refused, and the next one is served', async (t) => {
  const dir = await served(t);
  for (const line of ['{', 'null', '[]', '7', '"echo"', '{"method":7}', '{"method":"echo","params":"text"']) {
    const reply = JSON.parse(await raw(dir, `${line}\n`)) as { ok: boolean; error: { code: string } };
    assert.deepEqual([reply.ok, reply.error.code], [false, 'CONTROL_FAILED'], line);
  }
  const binary = Uint8Array.from({ length: 4096 }, (_, i) => (i * 31) % 256);
  assert.match(await raw(dir, Buffer.concat([binary, Buffer.from('\n')])), /CONTROL_FAILED/);
  assert.deepEqual(await askControl(dir, 'echo', { still: 'here' }), { still: 'here' });
});

test('a line without an end is cut off, and costs nobody else anything', async (t) => {
  const dir = await served(t);
  const patient = askControl(dir, 'echo', { a: 1 });
  assert.equal(await raw(dir, 'x'.repeat(5 * 1024 * 1024)), '');
  assert.deepEqual(await patient, { a: 1 });
  assert.deepEqual(await askControl(dir, 'echo', { b: 2 }), { b: 2 });
});

test('several ask at once, also over one connection, also in pieces', async (t) => {
  const dir = await served(t);
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => askControl(dir, 'echo', { i })));
  assert.deepEqual(
    answers,
    Array.from({ length: 20 }, (_, i) => ({ i })),
  );
  const two = await raw(dir, '{"method":"nothing"}\n{"method":"refuses"}\n', /\n.*\n$/);
  assert.equal(two.split('\n').length, 3);
  const socket = connect(controlSocketPath(dir));
  socket.setEncoding('utf8');
  for (const piece of ['{"meth', 'od":"echo","par', 'ams":{"p":"é"}}', '\n']) {
    socket.write(piece);
    await new Promise((done) => setTimeout(done, 5));
  }
  const [reply] = (await once(socket, 'data')) as [string];
  socket.destroy();
  assert.deepEqual(JSON.parse(reply), { ok: true, result: { p: 'é' } });
});

test('a data directory with a long path has its socket elsewhere, its own', async (t) => {
  const base = await tempDir(t);
  const dir = join(base, 'd'.repeat(120));
  await mkdir(dir);
  const path = controlSocketPath(dir);
  assert.ok(Buffer.byteLength(path) <= 100, path);
  assert.notEqual(dirname(path), dir);
  assert.notEqual(path, controlSocketPath(join(base, 'e'.repeat(120))));
  await served(t, dir);
  assert.deepEqual(await askControl(dir, 'echo', { long: true }), { long: true });
});

test('without a node the answer is that none runs; also when a killed one left its socket', async (t) => {
  const dir = await tempDir(t);
  await assert.rejects(askControl(dir, 'echo'), (e) => isSwarmError(e, 'NO_RUNNING_NODE') && e.message.includes(dir));
  const first = await serveControl(dir, HANDLERS);
  await first.close();
  await assert.rejects(stat(controlSocketPath(dir)), { code: 'ENOENT' });
  await assert.rejects(askControl(dir, 'echo'), (e) => isSwarmError(e, 'NO_RUNNING_NODE'));
});

test('a handler that takes too long is not waited for', async (t) => {
  const dir = await tempDir(t);
  const control = await serveControl(dir, { never: () => new Promise(() => {}) });
  t.after(() => control.close());
  await assert.rejects(askControl(dir, 'never', {}, 50), (e) => isSwarmError(e, 'CONTROL_TIMEOUT'));
});

/** A server at the socket's place that answers every connection in its own way. */
async function impostor(t: TestContext, onConnection: (socket: Socket) => void): Promise<string> {
  const dir = await tempDir(t);
  const server = createServer((socket) => onConnection(socket.resume()));
  await new Promise<void>((done) => server.listen(controlSocketPath(dir), done));
  t.after(() => new Promise((done) => server.close(done)));
  return dir;
}

test('an answer that breaks off, or is none of ours, is told from no node', async (t) => {
  const failed = (e: unknown): boolean => isSwarmError(e, 'CONTROL_FAILED');
  await assert.rejects(askControl(await impostor(t, (socket) => socket.end()), 'status'), failed);
  for (const said of ['hello', 'null', '7', '{"ok":"yes"}']) {
    const dir = await impostor(t, (socket) => socket.once('data', () => socket.end(`${said}\n`)));
    await assert.rejects(askControl(dir, 'status'), failed, said);
  }
});

test('a socket that a killed node left, or a file of its name, is no node', async (t) => {
  const dir = await tempDir(t);
  const listen = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', listen, controlSocketPath(dir)]);
  assert.ok((await stat(controlSocketPath(dir))).isSocket());
  await assert.rejects(askControl(dir, 'status'), (e) => isSwarmError(e, 'NO_RUNNING_NODE'));
  const other = await tempDir(t);
  await writeFile(controlSocketPath(other), 'not a socket');
  await assert.rejects(askControl(other, 'status'), (e) => isSwarmError(e, 'NO_RUNNING_NODE'));
});

test('a node of another user is told from none', async (t) => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return t.skip('only root can ask as somebody else');
  const dir = await served(t);
  await chmod(dir, 0o711);
  const code = await codeAsNobody(dir);
  assert.equal(code, 'CONTROL_REFUSED');
});

/** The code that user 65534 gets. */
function codeAsNobody(dir: string): Promise<string> {
  const control = new URL('../../../node/cli/control.ts', import.meta.url).href;
  const script = `process.setgid(65534); process.setuid(65534);
    (await import(${JSON.stringify(control)})).askControl(${JSON.stringify(dir)}, 'echo').then(() => 'answered', (e) => e.code).then(console.log)`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return new Promise((done) => child.stdout.once('data', (text) => done(String(text).trim())));
}

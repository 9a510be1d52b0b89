// Models from a hub on this machine: what is fetched and what is not, what survives a broken line, what is refused.

import assert from 'node:assert/strict';
import { lstat, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadModelFolder, modelFingerprint } from '../../../../node/model/folder.ts';
import { fetchModel, findCachedModel, type HubInit, type LocalModel } from '../../../../node/model/hub/hub.ts';
import { type HubId, parseHubId } from '../../../../node/model/hub/hub-id.ts';
import { type ErrorCode, isSwarmError } from '../../../../node/protocol/errors.ts';
import { type HubRepo, type HubServer, hubServer, repoOf } from '../../../support/hub-server.ts';
import { tempDir } from '../../../support/temp-dir.ts';

const STARTER = new URL('../../../../recipes/starter', import.meta.url).pathname;
const ID: HubId = { repo: 'swarm/starter', revision: 'main' };
const BLOBS = ['models--swarm--starter', 'blobs'] as const;

interface Lab {
  readonly hub: HubServer;
  readonly repo: HubRepo;
  readonly home: string;
  fetch(id?: HubId, init?: Partial<HubInit>): Promise<LocalModel>;
  env(more?: Readonly<Record<string, string>>): Readonly<Record<string, string>>;
}

async function lab(t: TestContext, change: (repo: HubRepo) => HubRepo = (repo) => repo): Promise<Lab> {
  const home = await tempDir(t);
  const whole = await repoOf(STARTER);
  for (const name of ['pytorch_model.bin', 'onnx/model.onnx', '.gitattributes', 'train.py']) {
    whole.files.set(name, Buffer.from(name));
  }
  const repo = change(whole);
  const hub = await hubServer(t, { [ID.repo]: repo });
  const env = (more = {}) => ({ HF_HOME: home, HF_ENDPOINT: hub.endpoint, ...more });
  return { hub, repo, home, env, fetch: (id = ID, init = {}) => fetchModel(id, { env: env(), pauseMs: 1, ...init }) };
}

function failsWith(...codes: readonly ErrorCode[]): (error: unknown) => boolean {
  return (error) => isSwarmError(error, ...codes);
}

const filesAsked = (hub: HubServer): string[] =>
  hub.requests.filter(({ path }) => path.includes('/resolve/')).map(({ path }) => path.split('/').at(-1)!);

test('a model is fetched once, only its needed files, into the standard cache', async (t) => {
  const { hub, repo, home, fetch } = await lab(t);
  const told: number[] = [];
  const progress: number[] = [];
  const weights = repo.files.get('model.safetensors')!.length;
  const model = await fetch(ID, {
    onSize: (bytes) => told.push(bytes),
    onProgress: (done, total) => {
      assert.equal(total, weights);
      progress.push(done);
    },
  });
  assert.equal(model.commit, repo.commit);
  assert.equal(model.folder, join(home, 'hub', 'models--swarm--starter', 'snapshots', repo.commit));
  assert.deepEqual((await readdir(model.folder)).sort(), [
    'config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  assert.ok((await lstat(join(model.folder, 'config.json'))).isSymbolicLink());
  assert.deepEqual(await modelFingerprint(model.folder), await modelFingerprint(STARTER));
  assert.deepEqual(told, [weights]);
  assert.equal(progress.at(-1), weights);
  assert.equal(await readFile(join(home, 'hub', 'models--swarm--starter', 'refs', 'main'), 'utf8'), repo.commit);

  const before = filesAsked(hub).length;
  assert.deepEqual(await fetch(ID, { onSize: () => assert.fail('nothing is left to download') }), model);
  assert.equal(filesAsked(hub).length, before);
});

test('a commit that is cached is not asked for again, offline or not', async (t) => {
  const { hub, repo, fetch, env } = await lab(t, (whole) => ({ ...whole, revisions: ['refs/pr/1'] }));
  const model = await fetch({ ...ID, revision: 'refs/pr/1' });
  const asked = hub.requests.length;
  assert.deepEqual(await fetch({ ...ID, revision: repo.commit }), model);
  const offline = { env: env({ HF_HUB_OFFLINE: '1' }) };
  assert.deepEqual(await fetch({ ...ID, revision: 'refs/pr/1' }, offline), model);
  await assert.rejects(fetch(ID, offline), failsWith('HUB_OFFLINE')); // `main` was never asked for
  assert.equal(hub.requests.length, asked);
});

test('sharded weights come by their index; a cache that lacks a shard is not whole', async (t) => {
  const index = { weight_map: { a: 'part-2.safetensors', b: 'part-1.safetensors', c: 'part-2.safetensors' } };
  const { fetch, env } = await lab(t, ({ files, ...rest }) => {
    const all = new Map(files);
    all.delete('model.safetensors');
    all.set('model.safetensors.index.json', Buffer.from(JSON.stringify(index)));
    all.set('part-1.safetensors', Buffer.alloc(20_000, 1));
    all.set('part-2.safetensors', Buffer.alloc(30_000, 2));
    all.set('part-3.safetensors', Buffer.alloc(30_000, 3));
    return { files: all, ...rest };
  });
  const told: number[] = [];
  const { folder } = await fetch(ID, { onSize: (bytes) => told.push(bytes) });
  const names = await readdir(folder);
  assert.deepEqual(told, [50_000]);
  assert.ok(names.includes('part-1.safetensors') && names.includes('part-2.safetensors'));
  assert.ok(!names.includes('part-3.safetensors'));
  assert.notEqual(await findCachedModel(ID, env()), null);
  await rm(join(folder, 'part-1.safetensors'));
  assert.equal(await findCachedModel(ID, env()), null);
});

test('a line that breaks is taken up where it broke', async (t) => {
  const { hub, fetch } = await lab(t);
  hub.cutOff('model.safetensors', 300_000, 4);
  const { folder } = await fetch();
  await loadModelFolder(folder);
  const ranges = hub.requests.filter(({ path }) => path.endsWith('model.safetensors')).map(({ range }) => range);
  assert.equal(ranges[0], undefined);
  assert.ok(ranges.length >= 2 && ranges.slice(1).every((range) => /^bytes=[1-9]\d*-$/.test(range!)), String(ranges));
});

test('a line that stays broken ends with what to do; the next call goes on from there', async (t) => {
  const { hub, home, fetch } = await lab(t);
  hub.cutOff('model.safetensors', 250_000, 1);
  hub.replace('model.safetensors', new Uint8Array(250_000)); // no more than that is sent
  await assert.rejects(fetch(), failsWith('HUB_UNREACHABLE'));
  const blobs = await readdir(join(home, 'hub', ...BLOBS));
  assert.equal(blobs.filter((name) => name.endsWith('.incomplete')).length, 1);
  hub.restore('model.safetensors');
  // what came before were other bytes, so the hash tells, and the third call has it whole
  await assert.rejects(fetch(), failsWith('HUB_CORRUPT'));
  assert.equal(hub.requests.at(-1)?.range, 'bytes=250000-');
  await loadModelFolder((await fetch()).folder);
});

test('a line that falls silent is given up and taken up again', async (t) => {
  const { hub, fetch } = await lab(t);
  hub.stall('model.safetensors', 100_000);
  await loadModelFolder((await fetch(ID, { idleMs: 300 })).folder);
  assert.match(hub.requests.at(-1)!.range!, /^bytes=\d+-$/);
});

test('a hub without ranges sends it all again', async (t) => {
  const { hub, fetch } = await lab(t);
  hub.ignoreRanges();
  hub.cutOff('model.safetensors', 200_000, 1);
  await loadModelFolder((await fetch()).folder);
});

test('other bytes than the hub names are not kept, nor are more of them', async (t) => {
  const { hub, repo, home, fetch } = await lab(t);
  const size = repo.files.get('model.safetensors')!.length;
  hub.replace('model.safetensors', Buffer.alloc(size, 7));
  await assert.rejects(fetch(), failsWith('HUB_CORRUPT'));
  hub.replace('model.safetensors', Buffer.alloc(size + 1, 7));
  await assert.rejects(fetch(), failsWith('HUB_CORRUPT'));
  hub.replace('model.safetensors', repo.files.get('model.safetensors')!);
  hub.replace('tokenizer.json', Buffer.alloc(repo.files.get('tokenizer.json')!.length, 7));
  await rm(home, { recursive: true });
  await assert.rejects(fetch(), failsWith('HUB_CORRUPT'));
});

test('what the hub refuses is told apart', async (t) => {
  const { fetch, env, hub } = await lab(t, (repo) => ({ ...repo, token: 'hf_right' }));
  await assert.rejects(fetch(), failsWith('HUB_NOT_FOUND'));
  await assert.rejects(fetch(ID, { env: env({ HF_TOKEN: 'hf_wrong' }) }), failsWith('HUB_NOT_FOUND'));
  await assert.rejects(fetch({ ...ID, repo: 'nobody/nothing' }), failsWith('HUB_NOT_FOUND'));
  const withToken = { env: env({ HF_TOKEN: 'hf_right' }) };
  await assert.rejects(fetch({ ...ID, revision: 'v9' }, withToken), failsWith('HUB_NOT_FOUND'));
  await fetch(ID, withToken);
  assert.equal(hub.requests.at(-1)?.authorization, 'Bearer hf_right');
  const gated = await lab(t, (repo) => ({ ...repo, isGated: true }));
  await assert.rejects(gated.fetch(), failsWith('HUB_DENIED'));
});

test('a hub that is away: the copy that is here, or an error that says so', async (t) => {
  const { hub, repo, fetch } = await lab(t);
  const model = await fetch();
  await hub.close();
  const stale: string[] = [];
  assert.deepEqual(await fetch(ID, { onStale: (commit) => stale.push(commit) }), model);
  assert.deepEqual(stale, [repo.commit]);
  await assert.rejects(fetch({ ...ID, repo: 'swarm/other' }), failsWith('HUB_UNREACHABLE'));
});

test('a model that cannot be run is refused before its weights are fetched', async (t) => {
  const { hub, fetch } = await lab(t, ({ files, ...rest }) => ({
    files: new Map([
      ...files,
      ['config.json', Buffer.from('{"architectures":["MambaForCausalLM"],"model_type":"mamba"}')],
    ]),
    ...rest,
  }));
  await assert.rejects(fetch(), failsWith('UNSUPPORTED_MODEL'));
  assert.deepEqual(filesAsked(hub), ['config.json']);
  for (const name of ['tokenizer.json', 'model.safetensors']) {
    const without = await lab(t, ({ files, ...rest }) => ({
      files: new Map([...files].filter(([file]) => file !== name)),
      ...rest,
    }));
    await assert.rejects(without.fetch(), failsWith('MODEL_FILE_MISSING'));
    assert.deepEqual(filesAsked(without.hub), []);
  }
});

test('an index cannot name files outside of its model', async (t) => {
  for (const name of ['../../../../etc/passwd', '.hidden.safetensors', 'a/b.safetensors', 'model.bin', 3]) {
    const { fetch } = await lab(t, ({ files, ...rest }) => {
      const all = new Map(files);
      all.delete('model.safetensors');
      all.set('model.safetensors.index.json', Buffer.from(JSON.stringify({ weight_map: { a: name } })));
      if (typeof name === 'string') all.set(name, Buffer.alloc(8));
      return { files: all, ...rest };
    });
    await assert.rejects(fetch(), failsWith('MODEL_FILE_CORRUPT'), String(name));
  }
});

test('the cache is where Hugging Face tools look for it, in their order of precedence', async (t) => {
  const { fetch, env } = await lab(t);
  const other = await tempDir(t);
  const { folder } = await fetch(ID, { env: env({ HF_HUB_CACHE: other }) });
  assert.ok(folder.startsWith(join(other, 'models--swarm--starter')));
  await writeFile(join(other, 'models--swarm--starter', 'refs', 'main'), 'no commit');
  assert.equal(await findCachedModel(ID, env({ HF_HUB_CACHE: other })), null);
});

test('hub ids', () => {
  assert.deepEqual(parseHubId('owner/name'), { repo: 'owner/name', revision: 'main' });
  assert.deepEqual(parseHubId('o/n-1.5_x@refs/pr/2'), { repo: 'o/n-1.5_x', revision: 'refs/pr/2' });
  const wrong = ['name', 'a/b/c', '../x', 'a/..', './a/b', 'a/b@', 'a/b@../c', 'a/b@/c', 'a--b/c', 'a/b c', '-a/b', ''];
  for (const text of wrong) assert.equal(parseHubId(text), null, text);
});

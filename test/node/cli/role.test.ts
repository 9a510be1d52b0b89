// How a role ends: what still computes is waited for last, and its failure is the role's own.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { RoleView } from '../../../node/cli/inspect-participant.ts';
import type { NetworkOptions } from '../../../node/cli/options.ts';
import { endThread, type RoleContext, runRole } from '../../../node/cli/roles/role.ts';
import { SwarmError } from '../../../node/protocol/errors.ts';
import { captured } from '../../support/run-program.ts';

const FAILED = new SwarmError('ENGINE_FAILED', 'the thread died');
const view: RoleView = { role: 'node', details: () => ({}), standing: () => new Map() };

/** Runs a role that does this and ends at once. */
async function run(t: TestContext, start: (context: RoleContext) => void): Promise<number> {
  const dataDir = await mkdtemp(join(tmpdir(), 'murmur-role-'));
  t.after(() => rm(dataDir, { recursive: true, force: true }));
  const options: NetworkOptions = {
    ...{ dataDir, network: 'role-test', join: [], host: '127.0.0.1', port: 0, loopback: true, mdns: false },
    ...{ relay: false, maxDisk: 1e9, logLevel: 'silent', json: true },
  };
  const { result } = await captured(() =>
    runRole(options, async (context) => {
      start(context);
      context.finish();
      return { view };
    }),
  );
  return result;
}

test('a role whose last work fails, early or late, fails with that error', async (t) => {
  const early = run(t, ({ waitLast }) => waitLast(Promise.reject(FAILED)));
  await assert.rejects(early, FAILED);
  const late = run(t, ({ waitLast }) => waitLast(new Promise((_, reject) => setTimeout(reject, 2_000, FAILED))));
  await assert.rejects(late, FAILED);
  assert.equal(await run(t, ({ waitLast }) => waitLast(Promise.resolve())), 0);
});

test('a thread that ends is waited for, unless the role is ending: then last', async () => {
  const ending = new AbortController();
  const last: Promise<void>[] = [];
  const context = { signal: ending.signal, waitLast: (ended: Promise<void>) => void last.push(ended) } as RoleContext;
  const closing = Promise.withResolvers<void>();
  let isEnded = false;
  const waited = endThread(context, () => closing.promise).then(() => {
    isEnded = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isEnded, false);
  closing.resolve();
  await waited;
  ending.abort();
  await endThread(context, () => new Promise(() => undefined));
  assert.equal(last.length, 1);
});

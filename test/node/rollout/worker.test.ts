// The rollout worker over a scripted engine: slots without gaps over crashes, admission, policy swaps, bodies that pass
// the verifier's own stage 1.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseModelConfig } from '../../../node/model/config.ts';
import { loadTokenizer } from '../../../node/model/tokenizer.ts';
import { decodeBody } from '../../../node/protocol/body.ts';
import { toHex } from '../../../node/protocol/bytes.ts';
import { decodeGroup } from '../../../node/protocol/group.ts';
import { createKeyPair } from '../../../node/protocol/keys.ts';
import type { SignedMessage } from '../../../node/protocol/ports.ts';
import { createProver } from '../../../node/rollout/prover.ts';
import {
  createRolloutWorker,
  type RolloutWorker,
  type RolloutWorkerInit,
  slotsWanted,
} from '../../../node/rollout/worker.ts';
import { resolveRecipe } from '../../../recipes/resolve.ts';
import { canonicalRecipe, parseRecipe } from '../../../recipes/schema.ts';
import { type FixedChain, fixedChain, rootAt } from '../../support/fixed-chain.ts';
import { type MemoryInbox, memoryInbox } from '../../support/memory-inbox.ts';
import { memoryBlobs, memoryRecords } from '../../support/memory-store.ts';
import { shippedSource } from '../../support/recipe-sources.ts';
import { type ScriptedEngine, scriptedEngine } from '../../support/scripted-engine.ts';
import { silentLogger as logger } from '../../support/silent-logger.ts';
import { until } from '../../support/until.ts';
import { judgeBody } from '../../verifier/support/judge-body.ts';

const STARTER = join(import.meta.dirname, '../../../recipes/starter');
const CONFIG_JSON = readFileSync(join(STARTER, 'config.json'), 'utf8');
const config = parseModelConfig(JSON.parse(CONFIG_JSON));
const tokenizer = await loadTokenizer(STARTER, config.vocabSize);
const recipe = resolveRecipe(
  parseRecipe(
    canonicalRecipe(shippedSource('arrows', { groupSize: 4, staleness: { maxLagSteps: 4, keepPolicies: 5 } })),
  ),
);

interface Disk {
  readonly records: ReturnType<typeof memoryRecords>;
  readonly blobs: ReturnType<typeof memoryBlobs>;
  readonly stored: NonNullable<Parameters<typeof memoryInbox>[1]>;
  readonly keyPair: ReturnType<typeof createKeyPair>;
}

interface Bench {
  readonly worker: RolloutWorker;
  readonly inbox: MemoryInbox;
  readonly chain: FixedChain;
  readonly engine: ScriptedEngine;
  readonly disk: Disk;
}

const newDisk = (): Disk => ({
  records: memoryRecords(),
  blobs: memoryBlobs(),
  stored: [],
  keyPair: createKeyPair(),
});

function bench(
  t: TestContext,
  init: Partial<RolloutWorkerInit> & { readonly disk?: Disk; readonly chain?: FixedChain } = {},
): Bench {
  const { disk = newDisk(), chain = fixedChain(CONFIG_JSON), ...rest } = init;
  const inbox = memoryInbox(disk.keyPair, disk.stored);
  const engine = scriptedEngine(config.hiddenSize);
  const prover = createProver();
  const clock = {
    nowMs: () => Date.now(),
    sleep: (ms: number, signal?: AbortSignal) =>
      new Promise<void>((resolve) => {
        if (signal?.aborted === true) return resolve();
        const timer = setTimeout(resolve, Math.min(ms, 5));
        signal?.addEventListener('abort', () => {
          clearTimeout(timer);
          resolve();
        });
      }),
  };
  const worker = createRolloutWorker(
    { inbox, blobs: disk.blobs, chain, engine, prover, records: disk.records, clock, logger, tokenizer },
    { recipe, peerId: inbox.sign('offer', new Uint8Array(1)).peerId, ...rest },
  );
  t.after(async () => {
    await worker.stop();
    await prover.close();
  });
  return { worker, inbox, chain, engine, disk };
}

const slotsOf = (messages: readonly SignedMessage[], policyStep = 0): number[] =>
  messages
    .map((message) => decodeGroup(message.payload))
    .filter((group) => group.policyStep === policyStep)
    .map((group) => group.slot);

test('a worker fills its share of the admission, in slot order, and waits', async (t) => {
  const { worker, inbox, chain } = bench(t);
  chain.set(0, { wantGroups: 13, activePeers: 2 });
  await worker.start();
  await until(() => inbox.published.length === 7, 'ceil(13 / 2) groups');
  await until(() => worker.stats().isWaiting, 'waiting');
  assert.deepEqual(slotsOf(inbox.published), [0, 1, 2, 3, 4, 5, 6]);
  chain.set(0, { wantGroups: 16, activePeers: 2 });
  await until(() => inbox.published.length === 8, 'a raised admission is used');
  assert.equal(worker.stats().groups, 8);
  assert.equal(worker.stats().policyStep, 0);
});

test('admission by hand: shares, at least one peer, the flood bound', () => {
  const policy = { policyStep: 0, policyRoot: '', manifestId: '', closing: false, wantGroups: 10, activePeers: 3 };
  assert.equal(slotsWanted(policy, 4096), 4);
  assert.equal(slotsWanted({ ...policy, activePeers: 0 }, 4096), 10);
  assert.equal(slotsWanted(policy, 2), 2);
  assert.equal(slotsWanted({ ...policy, wantGroups: 0 }, 4096), 0);
});

test('what is announced passes stage 1 of the verifier', async (t) => {
  const { worker, inbox, chain, disk } = bench(t);
  chain.set(0, { wantGroups: 3 });
  await worker.start();
  await until(() => inbox.published.length === 3, 'three groups');
  const context = { recipe, tokenizer, modelVocabulary: config.vocabSize, hiddenSize: config.hiddenSize };
  for (const message of inbox.published) {
    const group = decodeGroup(message.payload);
    assert.deepEqual(group.peerId, message.peerId);
    const bytes = await disk.blobs.get(toHex(group.bodyHash));
    assert.deepEqual(judgeBody(context, group, bytes).answer, { answer: 'accept' });
    assert.equal(decodeBody(bytes).sequences.length, 4);
  }
  const sample = worker.stats().lastSample;
  assert.equal(sample?.groupId, inbox.published[2]!.idHex);
});

test('a new policy is taken up between groups, from slot 0, and the old one leaves the engine', async (t) => {
  const { worker, inbox, chain, engine } = bench(t, { groupsInFlight: 2 });
  chain.set(0, { wantGroups: 100 });
  let swapped = false;
  engine.before = () => {
    if (!swapped && inbox.published.length >= 4) {
      swapped = true;
      chain.set(1, { wantGroups: 3 });
    }
  };
  await worker.start();
  await until(() => slotsOf(inbox.published, 1).length === 3, 'three groups at step 1');
  assert.deepEqual(slotsOf(inbox.published, 1), [0, 1, 2]);
  const old = slotsOf(inbox.published, 0);
  assert.deepEqual(
    old,
    old.map((_, i) => i),
  );
  const steps = inbox.published.map((message) => decodeGroup(message.payload).policyStep);
  assert.deepEqual(steps, [...steps].sort(), 'steps never go back');
  assert.deepEqual([...engine.loaded], [rootAt(1)]);
});

test('nothing is made for a closing recipe', async (t) => {
  const { worker, inbox, chain, engine } = bench(t);
  chain.set(0, { closing: true });
  await worker.start();
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(inbox.published.length, 0);
  assert.deepEqual(engine.log, []);
});

for (const where of ['put body', 'write slot', 'publish', 'mark published'] as const) {
  test(`a crash at "${where}": after a restart slots go on without a gap and announcements are the same bytes`, async (t) => {
    const disk = newDisk();
    const first = bench(t, { disk, groupsInFlight: 2 });
    let left = where === 'mark published' ? 4 : 3;
    const crash = (): void => {
      if (--left <= 0) throw new Error('killed');
    };
    const { put } = disk.blobs;
    const putRecord = disk.records.put;
    if (where === 'put body') {
      Object.assign(disk.blobs, {
        put: async (bytes: Uint8Array) => {
          crash();
          return put(bytes);
        },
      });
    }
    if (where === 'publish') first.inbox.beforePublish = crash;
    const flag = where === 'write slot' ? 0 : 1;
    if (where === 'write slot' || where === 'mark published') {
      Object.assign(disk.records, {
        put: async (key: string, value: Uint8Array) => {
          if (value[0] === flag) crash();
          await putRecord(key, value);
        },
      });
    }
    first.chain.set(0, { wantGroups: 8 });
    await first.worker.start();
    await until(() => first.worker.stats().problem === 'killed', 'killed');
    await first.worker.stop();
    Object.assign(disk.blobs, { put });
    Object.assign(disk.records, { put: putRecord });

    const second = bench(t, { disk });
    second.chain.set(0, { wantGroups: 8 });
    await second.worker.start();
    const all = (): SignedMessage[] => [...first.inbox.published, ...second.inbox.published];
    await until(() => new Set(slotsOf(all())).size === 8, 'all slots');
    const bySlot = new Map<number, string>();
    for (const message of all()) {
      const { slot } = decodeGroup(message.payload);
      const text = toHex(message.envelope);
      assert.equal(bySlot.get(slot) ?? text, text, `slot ${slot} always has the same bytes`);
      bySlot.set(slot, text);
      assert.ok(await disk.blobs.has(toHex(decodeGroup(message.payload).bodyHash)));
    }
    assert.deepEqual(
      [...bySlot.keys()].sort((a, b) => a - b),
      [0, 1, 2, 3, 4, 5, 6, 7],
    );
  });
}

test('old bodies and slots are deleted maxLag + 2 steps later', async (t) => {
  const { worker, inbox, chain, disk } = bench(t);
  for (let step = 0; step <= 7; step++) {
    chain.set(step, { wantGroups: 1 });
    if (step === 0) await worker.start();
    await until(() => inbox.published.length === step + 1, `step ${step}`);
  }
  const here = await Promise.all(
    inbox.published.map((message) => disk.blobs.has(toHex(decodeGroup(message.payload).bodyHash))),
  );
  assert.deepEqual(here, [false, true, true, true, true, true, true, true]);
});

test('a chain that went back to an older step gets nothing', async (t) => {
  const disk = newDisk();
  const first = bench(t, { disk });
  first.chain.set(3, { wantGroups: 1 });
  await first.worker.start();
  await until(() => first.inbox.published.length === 1, 'a group at step 3');
  await first.worker.stop();
  const second = bench(t, { disk });
  second.chain.set(2, { wantGroups: 5 });
  await second.worker.start();
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(second.inbox.published.length, 0);
});

test('too little memory for several groups: fewer are generated together', async (t) => {
  const { worker, inbox, chain, engine } = bench(t, { groupsInFlight: 4 });
  const { generate } = engine;
  engine.generate = async (root, sampling, groups, signal) => {
    if (groups.length > 1) {
      const { SwarmError } = await import('../../../node/protocol/errors.ts');
      throw new SwarmError('OUT_OF_MEMORY_BUDGET', 'too many');
    }
    return generate(root, sampling, groups, signal);
  };
  chain.set(0, { wantGroups: 3 });
  await worker.start();
  await until(() => inbox.published.length === 3, 'three groups');
  assert.deepEqual(slotsOf(inbox.published), [0, 1, 2]);
});

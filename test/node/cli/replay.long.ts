// `murmur replay` on what a stopped node left: a rejection that is right, one that is not, a group without one, and what is gone.

import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { NETWORK_KEY, NODE_RECORDS } from '../../../node/cli/participant.ts';
import type { ReplayReport } from '../../../node/cli/replay-report.ts';
import { starterModelDir } from '../../../node/cli/shipped.ts';
import { createPolicyEngine } from '../../../node/model/engine/engine.ts';
import { createInboxStore, type InboxStore } from '../../../node/network/inbox-store.ts';
import { encodeBody, type GroupBody } from '../../../node/protocol/body.ts';
import { fromUtf8, sha256, toHex, utf8 } from '../../../node/protocol/bytes.ts';
import type { CheckCode, Evidence } from '../../../node/protocol/check.ts';
import { encodeGroup } from '../../../node/protocol/group.ts';
import { createKeyPair, type KeyPair } from '../../../node/protocol/keys.ts';
import { networkIdOf } from '../../../node/protocol/network-id.ts';
import { encodeRecipeAnnouncement } from '../../../node/protocol/recipe-announcement.ts';
import { encodeVerdict, type Verdict } from '../../../node/protocol/verdict.ts';
import { createStore, type Store } from '../../../node/store/store.ts';
import { resolveRecipe } from '../../../recipes/resolve.ts';
import { canonicalRecipe, parseRecipe, type RecipeSource } from '../../../recipes/schema.ts';
import { type BodyContext, limitsOf, samplingOf } from '../../../verifier/checks/subject.ts';
import { signAs } from '../../support/memory-inbox.ts';
import { runInProcess } from '../../support/run-program.ts';
import { silentLogger as logger } from '../../support/silent-logger.ts';
import { tempDir } from '../../support/temp-dir.ts';
import { groupsBy, loadStarter, starterContext } from '../../verifier/support/starter.ts';
import { type MadeGroup, newPeer, testRecipeBytes, withSequence } from '../../verifier/support/swarm.ts';

const AUTHOR = createKeyPair();
const SOURCE = JSON.parse(fromUtf8(testRecipeBytes())) as RecipeSource;
const RECIPE_BYTES = canonicalRecipe({ ...SOURCE, author: toHex(AUTHOR.publicKey) });
const starter = await loadStarter();
const context: BodyContext = { ...starterContext(starter), recipe: resolveRecipe(parseRecipe(RECIPE_BYTES)) };
const { recipeId, recipeIdHex } = context.recipe;
const engine = createPolicyEngine({ threads: 1, memoryBytes: 2 ** 29 });
after(() => engine.close());
const { policyRoot } = starter.files;
await engine.load(starter.files);
const PEER = newPeer();
const groups = await groupsBy(engine, policyRoot, context, PEER, 8, samplingOf(context), policyRoot);
const [honest] = groups as [MadeGroup];

/** The honest group with another body under its peer's name; claims stay. */
function altered({ announcement, body }: MadeGroup, change: (body: GroupBody) => GroupBody): MadeGroup {
  const changed = change(body);
  const bytes = encodeBody(changed);
  const said = { ...announcement, bodyHash: sha256(bytes), bodyBytes: bytes.length };
  return { announcement: said, body: changed, bytes, message: signAs(PEER, 'group', encodeGroup(said)) };
}

interface Left {
  readonly dir: string;
  /** changes what the node left */
  change(how: (store: Store, inbox: InboxStore) => Promise<void>): Promise<void>;
  judge(
    group: MadeGroup,
    by: KeyPair,
    code: CheckCode | null,
    evidence?: Evidence,
    answer?: Verdict['answer'],
  ): Promise<void>;
  replay(...args: readonly string[]): Promise<{ readonly code: number; readonly report: ReplayReport }>;
}

/** The data directory of a node that knew a recipe, its first policy and some groups. */
async function left(t: TestContext, groups: readonly MadeGroup[]): Promise<Left> {
  const dir = await tempDir(t);
  const change: Left['change'] = async (how) => {
    const store = await createStore({ dir, maxDiskBytes: 1e9, logger });
    const inbox = createInboxStore({ records: (name) => store.records(name), networkId: networkIdOf('test'), logger });
    await how(store, inbox).finally(() => store.close());
  };
  await change(async (store, inbox) => {
    await store.records(NODE_RECORDS).put(NETWORK_KEY, utf8('test'));
    await store.blobs.put(RECIPE_BYTES);
    const recipe = { hash: recipeId, sizeBytes: RECIPE_BYTES.length };
    await inbox.put(signAs(AUTHOR, 'recipe', encodeRecipeAnnouncement({ recipe, timeMs: 0 })), null);
    for (const { message, bytes } of groups) {
      await store.blobs.put(bytes);
      await inbox.put(message, recipeIdHex);
    }
  });
  await cp(starterModelDir(), join(dir, 'policies', recipeIdHex, policyRoot), { recursive: true });
  return {
    dir,
    change,
    judge: ({ message, announcement }, by, code, evidence, answer = code === null ? 'accept' : 'reject') =>
      change(async (_, inbox) => {
        const { policyStep, peerId, slot } = announcement;
        const payload = encodeVerdict({
          ...{ recipeId, policyStep, groupId: message.id, peerId, slot, code, answer },
          ...(evidence === undefined ? {} : { evidence }),
          limits: limitsOf(context.recipe),
          secretHash: sha256('secret'),
          sequencesReplayed: 1,
        });
        await inbox.put(signAs(by, 'verdict', payload), recipeIdHex);
      }),
    async replay(...args) {
      const { code, stdout } = await runInProcess(['replay', ...args, '--data-dir', dir, '--threads', '1', '--json']);
      return { code, report: JSON.parse(stdout) as ReplayReport };
    },
  };
}

test('a rejection that is right: agreement, and the first mismatch token by token', async (t) => {
  // Inside a thought, where no reward looks: `<d3e2>f` becomes `<d3a2>f`.
  const isThought = ({ announcement }: MadeGroup, i: number): boolean => announcement.lengths[i]! > 6;
  const truth = groups.find((group) => group.announcement.lengths.some((_, i) => isThought(group, i)))!;
  const sequence = truth.announcement.lengths.findIndex((_, i) => isThought(truth, i));
  const position = 3;
  const [a, b] = context.tokenizer.encode('ab', { addSpecialTokens: false });
  const lie = altered(
    truth,
    withSequence(sequence, (each) => ({
      ...each,
      tokens: each.tokens.map((token, i) => (i === position ? (token === a ? b! : a!) : token)),
    })),
  );
  const { judge, replay, dir } = await left(t, [lie]);
  await judge(lie, createKeyPair(), 'REPLAY_MISMATCH', { sequence, position });
  const { code, report } = await replay(lie.message.idHex.slice(0, 8));
  assert.deepEqual([code, report.agrees, report.isWhole, report.sequences.length], [0, true, false, 1]);
  const { firstMismatch, texts, draws } = report.sequences[0]!;
  assert.equal(firstMismatch!.position, position);
  assert.ok(firstMismatch!.u < firstMismatch!.x || firstMismatch!.u >= firstMismatch!.y);
  assert.equal(texts[position], context.tokenizer.decode([firstMismatch!.token]));
  assert.deepEqual(
    draws.slice(0, position).map(({ fit }) => fit),
    ['drawn', 'drawn', 'drawn'],
  );
  const { stdout } = await runInProcess(['replay', lie.message.idHex, '--data-dir', dir, '--threads', '1']);
  const { u, x, y } = firstMismatch!;
  for (const shown of [u, x, y].map((value) => value.toFixed(6))) assert.ok(stdout.includes(shown), stdout);
  assert.match(stdout, /^agreement/m);
});

test('a drifted log-prob is shown at its token', async (t) => {
  const drifted = altered(
    honest,
    withSequence(0, (each) => ({ ...each, logprobs: each.logprobs.map((value, i) => value - (i === 1 ? 0.25 : 0)) })),
  );
  const { judge, dir } = await left(t, [drifted]);
  await judge(drifted, createKeyPair(), 'LOGPROB_DRIFT', { sequence: 0, position: 1, measured: 0.25, limit: 1e-3 });
  const { code, stdout } = await runInProcess(['replay', drifted.message.idHex, '--data-dir', dir, '--threads', '1']);
  assert.equal(code, 0, stdout);
  const claimed = drifted.body.sequences[0]!.logprobs[1]!;
  const line = new RegExp(`^largest drift: sequence 0, position 1, .*${claimed.toFixed(6)}, recomputed (\\S+)$`, 'm');
  assert.ok(Math.abs(Number(line.exec(stdout)![1]) - claimed - 0.25) < 1e-4, stdout);
});

test('a false rejection exits 1; the exact ones too, without the model', async (t) => {
  const { judge, replay, dir } = await left(t, [honest]);
  const [first, second] = [createKeyPair(), createKeyPair()];
  await judge(honest, first, 'LOGPROB_DRIFT', { sequence: 0, measured: 1, limit: 1e-3 });
  await judge(honest, second, 'REWARD_MISMATCH', { sequence: 0, measured: 1, limit: 0 });
  const exact = await replay(honest.message.idHex);
  assert.deepEqual([exact.code, exact.report.agrees, exact.report.sequences], [1, false, []]);
  assert.equal(exact.report.verdict!.by, second.peerIdString, 'the newest');
  const drift = await replay(honest.message.idHex, '--by', first.peerIdString.slice(-8));
  assert.deepEqual([drift.code, drift.report.agrees, drift.report.sequences.length], [1, false, 1]);
  assert.ok(drift.report.sequences[0]!.measures.largestDrift < 1e-4);
  const { stdout } = await runInProcess(['replay', honest.message.idHex, '--data-dir', dir, '--threads', '1']);
  assert.match(stdout, /^NO agreement: the verdict says reject/m);
});

test('without a rejection the whole group is replayed, each measure beside its limit; what rests on more is undecided', async (t) => {
  const { judge, replay } = await left(t, [honest]);
  const alone = await replay(honest.message.idHex);
  assert.deepEqual([alone.code, alone.report.verdict, alone.report.agrees], [0, null, null]);
  assert.equal(alone.report.sequences.length, honest.body.sequences.length);
  assert.ok(alone.report.isWhole);
  await judge(honest, createKeyPair(), 'NOT_CHECKED', undefined, 'ignore');
  const { report: ignored } = await replay(honest.message.idHex);
  assert.deepEqual([ignored.verdict?.code, ignored.agrees, ignored.isWhole], ['NOT_CHECKED', null, true]);
  await judge(honest, createKeyPair(), null);
  assert.equal((await replay(honest.message.idHex)).report.agrees, true);
  await judge(honest, createKeyPair(), 'SLACK_ABUSED', { sequence: 0, measured: 9 });
  const slack = await replay(honest.message.idHex);
  assert.deepEqual([slack.code, slack.report.agrees, slack.report.isWhole], [0, null, true]);
});

test('a group, a verdict, a body or a policy that is not there ends with a code', async (t) => {
  const { replay, change, dir } = await left(t, [honest]);
  const failure = async (...args: readonly string[]): Promise<readonly unknown[]> => {
    const { code, report } = await replay(...args);
    return [code, (report as unknown as { error: { code: string } }).error.code];
  };
  assert.deepEqual(await failure('0000'), [3, 'NOT_FOUND']);
  assert.deepEqual(await failure('no-id'), [2, 'USAGE']);
  assert.deepEqual(await failure(honest.message.idHex, '--by', 'nobody'), [3, 'NOT_FOUND']);
  await change((store) => store.blobs.delete(toHex(honest.announcement.bodyHash)));
  assert.deepEqual(await failure(honest.message.idHex), [3, 'BLOB_MISSING']);
  await change(async (store) => void (await store.blobs.put(honest.bytes)));
  await rm(join(dir, 'policies', recipeIdHex, policyRoot), { recursive: true });
  assert.deepEqual(await failure(honest.message.idHex), [3, 'NOT_FOUND']);
});

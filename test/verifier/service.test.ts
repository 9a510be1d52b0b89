// The verifier as a whole, with memory ports and a scripted engine: what it says of honest peers, and when.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { equalBytes, sha256, toHex } from '../../node/protocol/bytes.ts';
import { reject } from '../../node/protocol/check.ts';
import { SwarmError } from '../../node/protocol/errors.ts';
import { decodeSecret } from '../../node/protocol/secret.ts';
import { accountsFor, newDisk, type Running, startVerifier } from './support/running.ts';
import { GROUP_SIZE, type MadeGroup, makeGroup, newPeer, testChain, testContext, testRecipe } from './support/swarm.ts';

async function withVerifier(
  options: Parameters<typeof startVerifier>[0],
  run: (running: Running) => Promise<void>,
): Promise<void> {
  const running = await startVerifier(options);
  try {
    await run(running);
    const { announced, sum } = accountsFor(running.verifier);
    assert.equal(announced, sum, 'every announced group is counted once');
  } finally {
    await running.stop();
  }
}

function slots(running: Running, count: number, peer = newPeer(), policyStep = 0): MadeGroup[] {
  return Array.from({ length: count }, (_, slot) => makeGroup(running.context, peer, slot, policyStep));
}

test('honest groups are accepted; a newcomer is replayed whole, later one secret sequence of each', async () => {
  const context = testContext(testRecipe({ pMin: 1e-9 }));
  await withVerifier({ context }, async (running) => {
    const groups = slots(running, 40);
    for (const group of groups) {
      await running.announce(group);
      await running.settle();
    }
    assert.deepEqual(
      groups.map(running.verdictOn),
      groups.map(() => 'accept'),
    );
    const replayed = groups.map((group) => running.verdictsOn(group)[0]!.sequencesReplayed);
    assert.deepEqual(replayed.slice(0, 2), [GROUP_SIZE, GROUP_SIZE]);
    assert.ok(replayed.every((count) => count === 1 || count === GROUP_SIZE));
    assert.ok(replayed.slice(10).filter((count) => count === 1).length > 10, replayed.join());
    const { accepted, tokensReplayed, peers } = running.verifier.stats();
    assert.equal(accepted, 40);
    assert.ok(tokensReplayed > 0);
    assert.equal(peers[0]!.acceptedGroups, 40);
  });
});

test('the choice of what is replayed can be checked once the secret is shown', async () => {
  const context = testContext(testRecipe({ probationGroups: 0, pMin: 0.5 }));
  await withVerifier({ context }, async (running) => {
    const groups = slots(running, 12);
    for (const group of groups) await running.announce(group);
    await running.settle();
    const { secretHash } = running.verdictsOn(groups[0]!)[0]!;
    const secrets = (): ReturnType<typeof decodeSecret>[] =>
      running.inbox.published.filter(({ kind }) => kind === 'secret').map(({ payload }) => decodeSecret(payload));
    // The hash of step 1 is out while step 0 is the newest.
    assert.deepEqual(
      secrets().map(({ policyStep, secret }) => [policyStep, secret]),
      [
        [0, null],
        [1, null],
      ],
    );
    assert.ok(equalBytes(secrets()[0]!.secretHash, secretHash));
    running.chain.moveTo(4);
    await running.settle(1000);
    assert.equal(
      secrets().some(({ secret }) => secret !== null),
      false,
      'step 0 is still within maxLag',
    );
    running.chain.moveTo(5);
    await running.settle(1000);
    const shown = secrets().find(({ secret }) => secret !== null)!;
    assert.equal(shown.policyStep, 0);
    assert.ok(equalBytes(sha256(shown.secret!), secretHash));
    for (const group of groups) {
      // The first 8 bytes of the HMAC, as a fraction, below pMin: replayed whole.
      const lot = createHmac('sha256', shown.secret!).update(group.message.id).digest()[0]! / 256;
      assert.equal(running.verdictsOn(group)[0]!.sequencesReplayed, lot < 0.5 ? GROUP_SIZE : 1);
    }
  });
});

test('upkeep that a full disk stopped is done once there is room, in the same step', async () => {
  const disk = newDisk();
  let isFull = false;
  const put = disk.records.put.bind(disk.records);
  Object.assign(disk.records, {
    put: (key: string, value: Uint8Array) =>
      isFull && key.includes('secret') ? Promise.reject(new SwarmError('DISK_FULL', 'full')) : put(key, value),
  });
  await withVerifier({ disk }, async (running) => {
    await running.settle();
    const committed = (): number[] =>
      running.inbox.published
        .filter(({ kind }) => kind === 'secret')
        .map(({ payload }) => decodeSecret(payload).policyStep);
    assert.deepEqual(committed(), [0, 1]);
    isFull = true;
    running.chain.moveTo(1);
    await running.settle(1_000);
    assert.deepEqual(committed(), [0, 1]);
    isFull = false;
    await running.settle(1_000);
    assert.deepEqual(committed(), [0, 1, 2]);
  });
});

test('slots are judged in order, whatever order they arrive in', async () => {
  await withVerifier({}, async (running) => {
    const groups = slots(running, 4);
    for (const slot of [3, 1, 2]) await running.announce(groups[slot]!);
    await running.settle();
    assert.deepEqual(groups.map(running.verdictOn), [null, null, null, null]);
    await running.announce(groups[0]!);
    await running.settle();
    assert.deepEqual(groups.map(running.verdictOn), ['accept', 'accept', 'accept', 'accept']);
  });
});

test('a body that comes late is waited for; the next slot waits with it', async () => {
  await withVerifier({}, async (running) => {
    const [first, second] = slots(running, 2);
    await running.announce(first!, { withBody: false });
    await running.announce(second!);
    await running.settle(5_000);
    assert.deepEqual([running.verdictOn(first!), running.verdictOn(second!)], [null, null]);
    await running.give(first!);
    await running.settle(5_000);
    assert.deepEqual([running.verdictOn(first!), running.verdictOn(second!)], ['accept', 'accept']);
  });
});

test('groups of several peers share one replay', async () => {
  await withVerifier({}, async (running) => {
    const groups = Array.from({ length: 5 }, () => slots(running, 1)[0]!);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    running.engine.beforeReplay = () => held;
    for (const group of groups) await running.announce(group);
    await running.settle();
    release();
    await running.settle();
    assert.deepEqual(
      groups.map(running.verdictOn),
      groups.map(() => 'accept'),
    );
    assert.ok(running.engine.replays.length <= 2, 'one that was under way, one for all that waited');
  });
});

test('a policy whose weights are still on their way is waited for', async () => {
  await withVerifier({ chain: testChain(0) }, async (running) => {
    running.chain.moveTo(1, 0);
    const group = makeGroup(running.context, newPeer(), 0, 1);
    await running.announce(group);
    await running.settle(1_000);
    assert.equal(running.verdictOn(group), null);
    running.chain.moveTo(1, 1);
    await running.settle();
    assert.equal(running.verdictOn(group), 'accept');
  });
});

test('a policy that has left: POLICY_UNAVAILABLE', async () => {
  await withVerifier({ chain: testChain(3) }, async (running) => {
    running.chain.evictBefore = 2;
    const group = makeGroup(running.context, newPeer(), 0, 1);
    await running.announce(group);
    await running.settle();
    assert.equal(running.verdictOn(group), 'ignore POLICY_UNAVAILABLE');
  });
});

test('what was due and not checked in time is ignored, never accepted', async () => {
  await withVerifier({}, async (running) => {
    running.chain.moveTo(1, 0);
    const unchecked = makeGroup(running.context, newPeer(), 0, 1);
    const parked = makeGroup(running.context, newPeer(), 3, 1);
    await running.announce(unchecked);
    await running.announce(parked);
    await running.settle();
    running.chain.moveTo(6, 0);
    await running.settle(1_000);
    assert.equal(running.verdictOn(unchecked), 'ignore NOT_CHECKED');
    assert.equal(running.verdictOn(parked), 'ignore TOO_OLD');
  });
});

test('trouble of our own is never held against a peer', async () => {
  await withVerifier({}, async (running) => {
    running.engine.beforeReplay = () => {
      throw new SwarmError('ENGINE_FAILED', 'out of luck');
    };
    const [group] = slots(running, 1);
    await running.announce(group!);
    for (let i = 0; i < 4; i++) await running.settle(1_000);
    assert.equal(running.verdictOn(group!), 'ignore INTERNAL');
    assert.equal(running.verifier.standing.of(group!.message.peerIdString).rejectedGroups, 0);
  });
});

test('after a restart what was judged is not judged again, and what was not is', async () => {
  const disk = newDisk();
  const context = testContext();
  const peer = newPeer();
  const [judged, open, late] = Array.from({ length: 3 }, (_, slot) => makeGroup(context, peer, slot));
  const before = await startVerifier({ context, disk });
  await before.announce(judged!);
  await before.settle();
  // A kill, not a stop: the replay of the second never ends.
  before.engine.beforeReplay = () => new Promise(() => undefined);
  await before.announce(open!);
  await before.settle();
  assert.deepEqual([before.verdictOn(judged!), before.verdictOn(open!)], ['accept', null]);

  await withVerifier({ context, disk }, async (running) => {
    await running.give(open!);
    await running.settle(5_000);
    assert.equal(running.verdictOn(open!), 'accept');
    assert.equal(running.verdictsOn(judged!).length, 1);
    assert.equal(running.engine.replays.length, 1);
    await running.announce(late!);
    await running.settle();
    assert.equal(running.verdictOn(late!), 'accept');
    assert.equal(running.verifier.stats().peers[0]!.acceptedGroups, 3);
  });
});

test('bodies are deleted maxLag + 2 steps later; what is no body is not kept, and nothing else is deleted', async () => {
  await withVerifier({}, async (running) => {
    const { maxLagSteps } = running.context.recipe.recipe.staleness;
    const [group] = slots(running, 1);
    const noise = Uint8Array.of(255, 255, 255);
    const recipe = new TextEncoder().encode('a recipe, say');
    const recipeHash = await running.store.put(recipe);
    const naming = (bytes: Uint8Array): MadeGroup => ({
      ...makeGroup(running.context, newPeer(), 0, 0, {
        announcement: (honest) => ({ ...honest, bodyHash: sha256(bytes), bodyBytes: bytes.length }),
      }),
      bytes,
    });
    const [broken, greedy] = [naming(noise), naming(recipe)];
    for (const each of [group!, broken, greedy]) await running.announce(each);
    await running.settle();
    assert.deepEqual([group!, broken, greedy].map(running.verdictOn), [
      'accept',
      'reject BODY_MALFORMED',
      'reject BODY_MALFORMED',
    ]);
    const isHere = ({ bytes }: MadeGroup): Promise<boolean> => running.store.has(toHex(sha256(bytes)));
    assert.deepEqual([await isHere(group!), await isHere(broken)], [true, false]);
    for (const [step, here] of [
      [maxLagSteps + 2, true],
      [maxLagSteps + 3, false],
    ] as const) {
      running.chain.moveTo(step);
      await running.settle(1_000);
      assert.equal(await isHere(group!), here, `at step ${step}`);
    }
    assert.ok(await running.store.has(recipeHash));
  });
});

test('two verifiers of one swarm choose apart', async () => {
  const context = testContext(testRecipe({ probationGroups: 0, pMin: 0.5 }));
  const groups = Array.from({ length: 16 }, (_, slot) => makeGroup(context, onlyPeer, slot));
  const choices: string[] = [];
  for (let i = 0; i < 2; i++) {
    await withVerifier({ context }, async (running) => {
      for (const group of groups) await running.announce(group);
      await running.settle();
      choices.push(groups.map((group) => running.verdictsOn(group)[0]!.sequencesReplayed).join());
    });
  }
  assert.notEqual(choices[0], choices[1]);
});

const onlyPeer = newPeer();

test('what another replay of this process rejects is taken back, told, and held against its peer; once', async () => {
  const context = testContext(testRecipe({ probationGroups: 1 }));
  await withVerifier({ context }, async (running) => {
    const peer = newPeer();
    const [first, second, third] = slots(running, 3, peer);
    for (const group of [first!, second!]) await running.announce(group);
    await running.settle();
    assert.deepEqual([first!, second!].map(running.verdictOn), ['accept', 'accept']);
    const refuted = reject('REPLAY_MISMATCH', { sequence: 1, position: 0 });
    await running.verifier.refute(second!.message.idHex, refuted);
    await running.verifier.refute(second!.message.idHex, refuted);
    const { rejectedGroups, secondChance, lastCode } = running.verifier.standing.of(peer.peerIdString);
    assert.deepEqual([rejectedGroups, secondChance, lastCode], [1, true, 'REPLAY_MISMATCH']);
    await running.announce(third!);
    await running.settle();
    assert.deepEqual(
      running.verdictsOn(second!).map(({ answer, code, evidence }) => [answer, code, evidence?.sequence]),
      [
        ['accept', null, undefined],
        ['reject', 'REPLAY_MISMATCH', 1],
      ],
    );
    assert.equal(running.verdictsOn(third!)[0]!.sequencesReplayed, GROUP_SIZE, 'on probation again');
    // An exact one quarantines; nothing is left to be held against its peer then.
    await running.verifier.refute(third!.message.idHex, reject('REWARD_MISMATCH'));
    await running.verifier.refute(first!.message.idHex, refuted);
    assert.deepEqual([first!, third!].map(running.verdictOn), ['ignore QUARANTINED', 'reject REWARD_MISMATCH']);
    assert.equal(running.verifier.standing.of(peer.peerIdString).rejectedGroups, 2);
    // What has no answer yet gets this one, and no other.
    const early = makeGroup(context, newPeer(), 0);
    await running.announce(early, { withBody: false });
    await running.settle();
    await running.verifier.refute(early.message.idHex, refuted);
    await running.give(early);
    await running.settle(1000);
    assert.deepEqual(
      running.verdictsOn(early).map(({ code }) => code),
      ['REPLAY_MISMATCH'],
    );
    assert.equal(running.verifier.stats().waiting, 0);
  });
});

test('slots left out are told of who stops early, also after a restart', async () => {
  const disk = newDisk();
  const context = testContext();
  const peers = Array.from({ length: 3 }, newPeer);
  const counts = [4, 4, 1];
  const leftOut = (running: Running): (number | null)[] =>
    peers.map(({ peerIdString }) => running.verifier.standing.of(peerIdString).slotsLeftOut);
  await withVerifier({ context, disk }, async (running) => {
    for (const [i, peer] of peers.entries()) {
      for (const group of slots(running, counts[i]!, peer)) await running.announce(group);
    }
    for (let i = 0; i < 4; i++) await running.settle();
    assert.deepEqual(leftOut(running), [0, 0, 3 / 4]);
  });
  await withVerifier({ context, disk }, async (running) => {
    await running.settle();
    assert.deepEqual(leftOut(running), [0, 0, 3 / 4]);
  });
});

test('stop waits for every part and ends all of them, whichever of them has failed', async () => {
  const chain = testChain();
  chain.onReady = () => () => {
    throw new Error('not listening');
  };
  const running = await startVerifier({ chain });
  const { resolve: release, promise: held } = Promise.withResolvers<void>();
  running.engine.beforeReplay = () => held;
  await running.announce(makeGroup(running.context, newPeer(), 0));
  await running.settle();
  running.clock.sleep = () => Promise.reject(new Error('no time'));
  await running.settle(1_000);
  let hasStopped = false;
  const stopping = running.stop().then(() => {
    hasStopped = true;
  });
  await running.settle();
  assert.equal(hasStopped, false, 'a replay is under way');
  release();
  await stopping;
  await running.announce(makeGroup(running.context, newPeer(), 0));
  await running.settle();
  assert.equal(running.verifier.stats().announced, 1, 'nobody listens any more');
  assert.deepEqual(
    running.lines
      .filter(({ level }) => level === 'error')
      .map(({ context }) => (context as { readonly error?: string }).error),
    ['no time', 'not listening'],
  );
});

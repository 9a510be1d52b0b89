// What a verifier makes of other verifiers' acceptances, and of the secrets that explain them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choiceOf } from '../../verifier/secrets.ts';
import { CONFIRMED_TO_HALF } from '../../verifier/verifier-standing.ts';
import { signAs } from '../support/memory-inbox.ts';
import { drifted, missed, SAMPLING, withRunning } from './support/doubting.ts';
import { type OtherVerifier, otherVerifier } from './support/other-verifier.ts';
import { scriptedPolicy } from './support/scripted-policy.ts';
import { GROUP_SIZE, type MadeGroup, makeGroup, newPeer } from './support/swarm.ts';

test('acceptances that our own checks agree with earn standing; one whole one that they do not takes it', async () => {
  await withRunning({}, async (running, other) => {
    await other.commit(0);
    for (let i = 0; i < CONFIRMED_TO_HALF; i++) {
      const group = makeGroup(running.context, newPeer(), 0);
      await other.accept(group);
      await running.announce(group);
      await running.settle();
    }
    assert.equal(other.standing().standing, 0.5);
    const bad = makeGroup(running.context, newPeer(), 0, 0, { policy: scriptedPolicy('others') });
    await other.accept(bad);
    await running.announce(bad);
    await running.settle();
    const { standing, confirmed, contradicted, lastContradiction } = other.standing();
    assert.deepEqual([standing, confirmed, contradicted], [0, CONFIRMED_TO_HALF, 1]);
    assert.equal(lastContradiction, bad.message.idHex);
    assert.equal(other.isSilenced(), false, 'only false rejections silence');
  });
});

test('what echoes our own verdict earns nothing, whichever it was; a false acceptance is none the better for coming late', async () => {
  await withRunning({}, async (running, echo) => {
    await echo.commit(0);
    const [good, bad, worse] = [{}, { policy: scriptedPolicy('others') }, { policy: scriptedPolicy('others') }].map(
      (alteration) => makeGroup(running.context, newPeer(), 0, 0, alteration),
    ) as [MadeGroup, MadeGroup, MadeGroup];
    for (const group of [good, bad, worse]) await running.announce(group);
    await running.settle();
    const { code, evidence } = running.verdictsOn(bad).at(-1)!;
    await echo.accept(good);
    await echo.reject(bad, code!, evidence);
    await running.settle();
    assert.equal(running.verifier.doubts().waiting, 0);
    assert.deepEqual([echo.standing().confirmed, echo.standing().contradicted], [0, 0]);
    await echo.accept(worse);
    assert.deepEqual([echo.standing().confirmed, echo.standing().contradicted], [0, 1]);
  });
});

test('what stage 1 finds nobody may accept, on a sample or not', async () => {
  await withRunning({}, async (running, other) => {
    await other.commit(0);
    const bad = makeGroup(running.context, newPeer(), 0, 0, {
      announcement: (truth) => ({ ...truth, rewards: truth.rewards.map((reward) => reward + 1) }),
    });
    await other.accept(bad, 1);
    await running.announce(bad);
    await running.settle();
    assert.equal(running.verdictOn(bad), 'reject REWARD_MISMATCH');
    assert.equal(other.standing().contradicted, 1);
  });
});

test('who accepted on a sample is judged by the secret: false when it had to look at the bad sequence, else excused', async () => {
  await withRunning({}, async (running) => {
    const [bad, sampled, whole, silent] = [2, ...[0, 1, 2].map(() => otherVerifier(running))] as [
      number,
      OtherVerifier,
      OtherVerifier,
      OtherVerifier,
    ];
    for (const other of [sampled, whole, silent]) {
      await other.commit(0);
      const honest = makeGroup(running.context, newPeer(), 0);
      await other.accept(honest);
      await running.announce(honest);
      await running.settle();
      assert.equal(other.standing().confirmed, 1);
    }
    const { pMin } = running.context.recipe.recipe.verification;
    let looked = 0;
    let excused = 0;
    while (looked < 1 || excused < 1) {
      const group = makeGroup(running.context, newPeer(), 0, 0, drifted(bad));
      await running.announce(group);
      await running.settle();
      const choice = choiceOf(sampled.secretOf(0), group.message.id, GROUP_SIZE);
      if (choice.sequence === bad || choice.lot < pMin) looked++;
      else excused++;
      await sampled.accept(group, 1);
      await silent.accept(group, 1);
    }
    assert.equal(sampled.standing().contradicted, 0, 'nobody can know before the secret is shown');
    await sampled.show(0);
    assert.equal(sampled.standing().contradicted, looked);
    running.chain.moveTo(4 + 1 + 2);
    await running.settle(1000);
    assert.equal(silent.standing().contradicted, 0);
    assert.equal(silent.standing().standing, 0, 'a secret that is never shown explains nothing');
    assert.equal(whole.standing().standing > 0, true);
  });
});

test('a secret that was shown before we found the group wrong still says what its verifier had to look at', async () => {
  await withRunning(SAMPLING, async (running, other) => {
    const strict = otherVerifier(running);
    for (const verifier of [other, strict]) await verifier.commit(0);
    const honest = makeGroup(running.context, newPeer(), 0);
    await other.accept(honest);
    await running.announce(honest);
    await running.settle();
    await other.show(0);
    let hasLooked = false;
    let isExcused = false;
    while (!hasLooked || !isExcused) {
      const { group, bad } = await missed(running);
      const looked = choiceOf(other.secretOf(0), group.message.id, GROUP_SIZE).sequence === bad;
      if (looked ? !isExcused || hasLooked : isExcused) continue;
      await other.accept(group, 1);
      await strict.reject(group, 'LOGPROB_DRIFT', { sequence: bad });
      await running.settle();
      assert.equal(running.verdictOn(group), 'reject LOGPROB_DRIFT');
      assert.equal(other.standing().contradicted, looked ? 1 : 0);
      if (looked) hasLooked = true;
      else {
        isExcused = true;
        const { standing } = other.standing();
        assert.ok(standing > 0);
        await running.settle(1_000);
        assert.equal(other.standing().standing, standing);
      }
    }
  });
});

test('an honest verifier whose secret came early keeps its standing when its step is long gone', async () => {
  await withRunning(SAMPLING, async (running, other) => {
    const strict = otherVerifier(running);
    await other.commit(0);
    const honest = makeGroup(running.context, newPeer(), 0);
    await other.accept(honest);
    await running.announce(honest);
    await other.show(0);
    let { group, bad } = await missed(running);
    while (choiceOf(other.secretOf(0), group.message.id, GROUP_SIZE).sequence === bad) {
      ({ group, bad } = await missed(running));
    }
    await other.accept(group, 1);
    await strict.reject(group, 'LOGPROB_DRIFT', { sequence: bad });
    await running.settle();
    assert.equal(running.verdictOn(group), 'reject LOGPROB_DRIFT');
    running.chain.moveTo(4 + 1 + 2);
    await running.settle(1_000);
    const { confirmed, contradicted, standing } = other.standing();
    assert.deepEqual([confirmed, contradicted, standing > 0], [1, 0, true]);
  });
});

test('a verdict names the secret of its group’s own step, not one that its verifier has chosen among several', async () => {
  await withRunning({}, async (running, other) => {
    for (const step of [0, 1]) await other.commit(step);
    const [good, bad] = [{}, drifted(2)].map((alteration) =>
      makeGroup(running.context, newPeer(), 0, 0, alteration),
    ) as [MadeGroup, MadeGroup];
    const asOfStepOne = ({ announcement, ...rest }: MadeGroup): MadeGroup => ({
      ...rest,
      announcement: { ...announcement, policyStep: 1 },
    });
    await other.accept(asOfStepOne(good));
    await other.reject(asOfStepOne(bad), 'LOGPROB_DRIFT', { sequence: 2 });
    for (const group of [good, bad]) await running.announce(group);
    await running.settle();
    assert.deepEqual([good, bad].map(running.verdictOn), ['accept', 'reject LOGPROB_DRIFT']);
    assert.equal(running.verifier.doubts().waiting, 0);
    assert.equal(other.standing().confirmed, 0);
  });
});

test('a verdict that another verifier signs again earns nothing; said twice it counts once', async () => {
  await withRunning({}, async (running, other) => {
    const copier = otherVerifier(running);
    await other.commit(0);
    await copier.commit(0);
    const group = makeGroup(running.context, newPeer(), 0);
    const verdict = await other.accept(group);
    for (let i = 0; i < 3; i++) await running.inbox.deliver(verdict, running.context.recipe.recipeIdHex);
    await running.inbox.deliver(signAs(copier.keyPair, 'verdict', verdict.payload), running.context.recipe.recipeIdHex);
    await running.announce(group);
    await running.settle();
    assert.deepEqual([other.standing().confirmed, copier.standing().confirmed], [1, 0]);
  });
});

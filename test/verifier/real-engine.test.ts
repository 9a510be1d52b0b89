// The verifier with the engine and the starter model that are shipped: honest groups pass, altered weights do not.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { createPolicyEngine } from '../../node/model/engine/engine.ts';
import type { PolicyEngine } from '../../node/protocol/ports.ts';
import { judgeReplay } from '../../verifier/checks/stage-two.ts';
import { replaySubject, samplingOf } from '../../verifier/checks/subject.ts';
import { startVerifier } from './support/running.ts';
import { groupsBy, loadStarter, starterContext } from './support/starter.ts';
import { newPeer, testChain } from './support/swarm.ts';

const starter = await loadStarter();
const { files } = starter;
const context = starterContext(starter);
const LIMITS = { threads: 1, memoryBytes: 2 ** 29 };
const engine = createPolicyEngine(LIMITS);
const liarsEngine = createPolicyEngine(LIMITS);
after(() => Promise.all([engine.close(), liarsEngine.close()]));

/** The chain of the test swarm has made-up roots; behind each of them lie the starter's weights. */
const verifiersEngine: PolicyEngine = {
  ...engine,
  load: () => engine.load(files),
  replay: (_, ...rest) => engine.replay(files.policyRoot, ...rest),
};

test('honest groups are accepted, altered weights rejected', async () => {
  await engine.load(files);
  await liarsEngine.load(files, { alterWeights: { seed: 1, scale: 0.05 } });
  const honest = await groupsBy(engine, files.policyRoot, context, newPeer(), 6);
  const liars = await groupsBy(liarsEngine, files.policyRoot, context, newPeer(), 2);

  const running = await startVerifier({ context, chain: testChain(), realEngine: verifiersEngine });
  try {
    for (const group of [...honest, ...liars]) await running.announce(group);
    for (let i = 0; i < 200 && running.verifier.stats().waiting > 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.deepEqual(
      honest.map(running.verdictOn),
      honest.map(() => 'accept'),
    );
    for (const group of liars) assert.match(running.verdictOn(group)!, /^reject (REPLAY_MISMATCH|LOGPROB_DRIFT)$/);
    const { standing } = running.verifier;
    assert.equal(standing.isQuarantined(liars[0]!.message.peerIdString, 0), true);
    assert.equal(standing.of(honest[0]!.message.peerIdString).softMisses, 0);
  } finally {
    await running.stop();
  }
});

test('an honest replay lies far inside every limit', async () => {
  await engine.load(files);
  const groups = await groupsBy(engine, files.policyRoot, context, newPeer(), 8);
  for (const { announcement, body } of groups) {
    const replayed = await engine.replay(
      files.policyRoot,
      samplingOf(context),
      body.sequences.map(({ tokens }) => ({ prompt: body.prompt, tokens })),
    );
    body.sequences.forEach((_, i) => {
      const tight = {
        delta: 1e-5,
        maxLogprobDrift: 2e-5,
        maxMeanLogprobDrift: 1e-5,
        maxExponentMismatches: 4,
        maxMantissaErrorMean: 0.5,
        maxMantissaErrorMedian: 0,
      };
      const verdict = judgeReplay(replaySubject(context, announcement, body, i, replayed[i]!, tight));
      assert.equal(verdict.answer, 'accept', JSON.stringify(verdict));
    });
  }
});

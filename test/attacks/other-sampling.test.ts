// A liar samples as it likes: warmer, colder, greedily, or without the recipe's cut. Careless: it claims the log-probs of what it
// did. A forger claims the true ones. (The starter model under the same lies: cheaper-models.test.ts.)

import assert from 'node:assert/strict';
import type { SamplingSettings } from '../../node/protocol/ports.ts';
import type { BodyContext } from '../../verifier/checks/subject.ts';
import { shippedTemplate } from '../support/recipe-sources.ts';
import { type ScriptedPolicy, scriptedPolicy } from '../verifier/support/scripted-policy.ts';
import { rootOf, testContext, testRecipe } from '../verifier/support/swarm.ts';
import { attack, forge } from './support.ts';

/** The default: what "within probation" means. */
const PROBATION = 8;

function contextWith(sampling: object): BodyContext {
  const template = shippedTemplate('arrows')['sampling'] as object;
  return testContext(testRecipe({ probationGroups: PROBATION }, { sampling: { ...template, ...sampling } }));
}

/** The true weights under other settings. */
function sampledWith(change: Partial<SamplingSettings>): ScriptedPolicy {
  const truth = scriptedPolicy(rootOf(0));
  return {
    generate: (prompt, seed, sampling) => truth.generate(prompt, seed, { ...sampling, ...change }),
    replay: (prompt, tokens, sampling) => truth.replay(prompt, tokens, { ...sampling, ...change }),
  };
}

interface Lie {
  readonly name: string;
  readonly change: Partial<SamplingSettings>;
  /** what the recipe asks for */
  readonly asked?: object;
}

const LIES: readonly Lie[] = [
  { name: 'temperature 1.1 for 1', change: { temperature: 1.1 } },
  { name: 'temperature 0.9 for 1', change: { temperature: 0.9 } },
  { name: 'greedy', change: { topK: 1 } },
  { name: 'top-p off', change: { topP: 1 }, asked: { topP: 0.9 } },
  { name: 'top-k off', change: { topK: 0 }, asked: { topK: 20 } },
];

for (const { name, change, asked = {} } of LIES) {
  const context = contextWith(asked);
  const policy = sampledWith(change);
  for (const isForger of [false, true]) {
    const title = `${name}, ${isForger ? 'forged' : 'careless'}: quarantined within probation`;
    const body = isForger ? forge(context) : (each: Parameters<ReturnType<typeof forge>>[0]) => each;
    attack(
      title,
      async (scene) => {
        const groups = Array.from({ length: PROBATION }, (_, slot) => scene.lie(slot, { policy, body }));
        const verdicts = await scene.judge(...groups);
        assert.ok(scene.isQuarantined(), verdicts.join(', '));
        const rejected = verdicts.filter((verdict) => verdict?.startsWith('reject'));
        assert.equal(rejected.length, 2, 'a second chance, and no third');
        if (isForger) assert.deepEqual(new Set(rejected), new Set(['reject REPLAY_MISMATCH']));
        // Temperature changes every claim; a cut is not in log-probs at all (spec/rollouts.md "Sampling").
        else if (change.temperature !== undefined)
          assert.match(verdicts[0]!, /^reject/, 'the first group gives it away');
      },
      context,
    );
  }
}

attack(
  "the recipe's own cut is no lie",
  async (scene) => {
    const groups = Array.from({ length: PROBATION }, (_, slot) => scene.lie(slot, {}));
    assert.deepEqual(
      await scene.judge(...groups),
      groups.map(() => 'accept'),
    );
  },
  contextWith({ topP: 0.9, topK: 20 }),
);

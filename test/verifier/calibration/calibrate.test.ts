// A small calibration of the starter under real engines: honest work passes, lies are caught as theory says, and every share adds up.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createPolicyEngine } from '../../../node/model/engine/engine.ts';
import { loadModelFolder, saveModelFolder } from '../../../node/model/folder.ts';
import { policyRoot } from '../../../node/model/policy-root.ts';
import { toHex } from '../../../node/protocol/bytes.ts';
import { type CalibrationInit, calibrate } from '../../../verifier/calibration/calibrate.ts';
import { reportChart } from '../../../verifier/calibration/chart.ts';
import { assign, honestSampling, type Setting } from '../../../verifier/calibration/groups.ts';
import { LIES, type Lie } from '../../../verifier/calibration/lies/lies.ts';
import { lyingRun, tell } from '../../../verifier/calibration/lies/tell.ts';
import { reportMarkdown } from '../../../verifier/calibration/markdown.ts';
import type { PartState } from '../../../verifier/calibration/part.ts';
import { reportJson } from '../../../verifier/calibration/report.ts';
import { loadStarter, starterContext } from '../support/starter.ts';

const starter = await loadStarter();
const truth = { context: starterContext(starter), policyRoot: starter.files.policyRoot };
const engine = createPolicyEngine({ threads: 1, memoryBytes: 2 ** 29 });
const dir = await mkdtemp(join(tmpdir(), 'murmur-calibration-test-'));
after(async () => {
  await engine.close();
  await rm(dir, { recursive: true, force: true });
});

const settings: readonly Setting[] = [
  { name: 'large', engine, groupsPerCall: 32, crowdTokens: 0 },
  { name: 'small', engine, groupsPerCall: 2, crowdTokens: 48 },
];
const lie = (name: string): Lie => LIES.find((each) => each.name === name)!;

function init(lies: readonly Lie[], groups: number): CalibrationInit {
  const policy = { weights: starter.weights, configJson: starter.files.configJson };
  return {
    ...{ truth, files: starter.files, material: { policy, previous: null, learningRate: 6e-5 }, lies },
    ...{ limitGroups: 16, honestGroups: groups, lieGroups: groups },
  };
}

test('honest work passes, lies are caught, theory agrees', async () => {
  const lies = ['int8', 'warmer', 'best-of-two', 'edited-token'].map(lie);
  const result = await calibrate(
    {
      settings,
      loadLie: async (model, into) => {
        await saveModelFolder(dir, model);
        const root = toHex(policyRoot((await loadModelFolder(dir)).weights));
        await into.load({
          policyRoot: root,
          configJson: model.configJson,
          weightsFile: join(dir, 'model.safetensors'),
        });
        return root;
      },
    },
    init(lies, 40),
  );
  assert.equal(result.honest.groups, 40);
  assert.equal(result.honest.verdict.groups.count, 0);
  assert.equal(result.honest.verdict.borderline, 0);
  assert.ok(result.honest.largest.largestDrift > 0, 'unlike batches do not add up alike');
  assert.equal(
    result.pairs.reduce((sum, { rejected }) => sum + rejected.of, 0),
    40,
  );
  for (const { limit, found, was } of result.limits) assert.ok(found < was, `${limit} ${found} of one CPU, ${was}`);
  const [int8, warmer, bestOfTwo, edited] = result.lies;
  for (const each of [int8!, warmer!, edited!]) {
    assert.equal(each.tally.verdict.groups.count, each.tally.groups, `${each.name}, careless`);
    assert.deepEqual(each.detection.careless, { groupsUntilQuarantine: 2, withinProbation: 1 });
  }
  for (const each of [bestOfTwo!, edited!]) {
    assert.equal(each.tally.forged.groups.count, each.tally.groups, each.name);
    assert.equal(each.theory.overlap, 1);
  }
  assert.ok(
    bestOfTwo!.tally.groups > 0 && bestOfTwo!.tally.groups < 40,
    'where the first try is as good, nothing false is told',
  );
  assert.equal(edited!.tally.sequences, 40, 'one sequence a group');
  for (const { theory, tally, name } of [int8!, warmer!]) {
    const { count, of } = tally.forged.groups;
    assert.ok(
      Math.abs(count / of - theory.overlap) <= 4 * theory.deviation + 0.02,
      `${name}: ${count} of ${of}, ${theory.overlap}`,
    );
    assert.ok(theory.halfL1! > 0 && theory.halfL1! <= theory.overlap + 1e-9);
  }
  for (const { tally } of result.lies) {
    const alone = Object.values(tally.byCheck).reduce((sum, each) => sum + each.alone, 0);
    assert.ok(alone <= tally.verdict.groups.count);
  }
  const subject = {
    recipe: 'a<b',
    policyRoot: truth.policyRoot,
    parameters: 1,
    groupSize: 4,
    maxNewTokens: 16,
    probationGroups: 8,
  };
  const report = {
    version: 1 as const,
    subject: { ...subject, settings: ['large'], machine: { processor: 'x' }, previous: 'made', command: 'murmur' },
    result,
  };
  assert.equal(JSON.parse(reportJson(report)).result.honest.groups, 40);
  assert.match(reportMarkdown(report, 'c.svg'), /\*\*0 rejected\*\*/);
  const chart = reportChart(report);
  assert.ok(chart.includes('a&lt;b') && !chart.includes('NaN'));
});

test('a calibration that was stopped goes on with its next chunk, and counts the same', async () => {
  const asked = init([lie('warmer')], 8);
  const loadLie = async (): Promise<string> => '';
  const whole = await calibrate({ settings, loadLie }, asked);
  for (const [part, stopAt] of [
    ['honest', 4],
    ['warmer', 0],
  ] as const) {
    const kept = new Map<string, PartState>();
    const keeper = {
      read: (name: string) => kept.get(name),
      // As a file holds it.
      keep: (name: string, state: PartState) => void kept.set(name, JSON.parse(JSON.stringify(state)) as PartState),
    };
    const controller = new AbortController();
    const first = calibrate(
      {
        ...{ settings, loadLie, keeper },
        onProgress: (name, done) => void (name === part && done >= stopAt && controller.abort()),
      },
      { ...asked, signal: controller.signal },
    );
    await assert.rejects(first, { code: 'INTERRUPTED' });
    assert.ok(kept.has('limits'));
    const before = new Map([...kept].map(([name, { done }]) => [name, done]));
    const begun = new Map<string, number>();
    const onProgress = (name: string, done: number) => void begun.set(name, begun.get(name) ?? done);
    assert.deepEqual(await calibrate({ settings, loadLie, keeper, onProgress }, asked), whole);
    for (const name of ['limits', 'honest', 'warmer']) assert.equal(begun.get(name), before.get(name) ?? 0, name);
  }
});

test('a given-up calibration says so, and a single setting is refused', async () => {
  const loadLie = async (): Promise<string> => '';
  await assert.rejects(calibrate({ settings, loadLie }, { ...init([], 4), signal: AbortSignal.abort() }), {
    code: 'INTERRUPTED',
  });
  await assert.rejects(calibrate({ settings: settings.slice(0, 1), loadLie }, init([], 4)), { code: 'USAGE' });
});

test('what is told: seeds and text are as each lie says', async () => {
  const assigned = assign(truth, 'peer', 0, 8);
  const tellOf = (name: string) => tell(lie(name), truth, lyingRun(lie(name), truth, ''), settings[0]!, assigned);
  const honest = await engine.generate(
    truth.policyRoot,
    honestSampling(truth),
    assigned.map(({ request }) => request),
  );
  const edited = await tellOf('edited-token');
  for (const [g, { sequences, lied }] of edited.entries()) {
    assert.deepEqual(lied.slice(1), [false, false, false]);
    const unlike = sequences[0]!.tokens.filter((token, t) => token !== honest[g]![0]!.tokens[t]);
    assert.equal(unlike.length, lied[0] ? 1 : 0);
    assert.deepEqual(sequences[1]!.tokens, honest[g]![1]!.tokens);
  }
  const other = await tellOf('other-seed');
  assert.ok(
    other.some(({ sequences }, g) => sequences.some(({ tokens }, i) => tokens.join() !== honest[g]![i]!.tokens.join())),
  );
  for (const { lied } of await tellOf('best-of-two')) assert.equal(lied.length, 4);
});

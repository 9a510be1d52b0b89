// The starter model under a real engine, and liars who run something cheaper or older in its place, or sample it otherwise.
// Careless: claims come from what was run. Forged: one prefill of the true policy gives true log-probs and proofs; then only the
// draws differ, and how often is theory: a token passes when the liar's interval for it and the policy's overlap at its u.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseModelConfig } from '../../node/model/config.ts';
import { createPolicyEngine } from '../../node/model/engine/engine.ts';
import { buildPrefillGraph } from '../../node/model/llama/prefill.ts';
import { policyRoot } from '../../node/model/policy-root.ts';
import { writeSafetensors } from '../../node/model/safetensors.ts';
import { softmax } from '../../node/model/sampling/distribution.ts';
import { intervalOf } from '../../node/model/sampling/draw.ts';
import type { Weights } from '../../node/model/weights.ts';
import { toHex } from '../../node/protocol/bytes.ts';
import type { PolicyFiles, ReplayedSequence } from '../../node/protocol/ports.ts';
import { fineTuned, oneStepOld, quantised, shallower } from '../../verifier/calibration/lies/models.ts';
import { judgeReplay } from '../../verifier/checks/stage-two.ts';
import { type BodyContext, replaySubject, samplingOf, tokenCount } from '../../verifier/checks/subject.ts';
import { proveCompletion } from '../../verifier/toploc/completion.ts';
import { weightFeeds } from '../support/decode-loop.ts';
import { int32, session } from '../support/run-graph.ts';
import { tempDir } from '../support/temp-dir.ts';
import { groupsBy, loadStarter, starterContext } from '../verifier/support/starter.ts';
import { type MadeGroup, newPeer } from '../verifier/support/swarm.ts';

const GROUPS = 32;

interface Lie {
  readonly name: string;
  readonly weights?: Weights;
  readonly configJson?: string;
  readonly temperature?: number;
  /** groups of 32 that are rejected at least when told carelessly */
  readonly careless: number;
}

const starter = await loadStarter();
const context: BodyContext = starterContext(starter);
const { configJson } = starter.files;
const engine = createPolicyEngine({ threads: 1, memoryBytes: 2 ** 29 });
after(() => engine.close());
before(() => engine.load(starter.files));

const LIES: readonly Lie[] = [
  { name: 'int8 weights', weights: quantised(starter.weights, 8, null), careless: 32 },
  { name: 'int4 weights', weights: quantised(starter.weights, 4, 32), careless: 32 },
  { name: 'three of four layers', ...shallower(starter.weights, configJson, 3), careless: 32 },
  { name: 'one step old, lr 6e-5', weights: oneStepOld(starter.weights, 6e-5, 1), careless: 30 },
  { name: 'a fine-tuned copy', weights: fineTuned(starter.weights, 0.03, 1), careless: 32 },
  { name: 'temperature 1.1', temperature: 1.1, careless: 32 },
  { name: 'temperature 0.9', temperature: 0.9, careless: 32 },
];

/** The lie as the engine takes it. */
async function filesOf(lie: Lie, dir: string): Promise<PolicyFiles> {
  if (lie.weights === undefined) return starter.files;
  const weightsFile = join(dir, 'model.safetensors');
  await writeFile(weightsFile, writeSafetensors(lie.weights, 'BF16'));
  return { policyRoot: toHex(policyRoot(lie.weights)), configJson: lie.configJson ?? configJson, weightsFile };
}

/** Groups that are rejected when each of their sequences is held against its replay. */
function rejected(groups: readonly MadeGroup[], replayed: readonly (readonly ReplayedSequence[])[]): number {
  return groups.filter(({ announcement, body }, g) =>
    body.sequences.some(
      (_, i) => judgeReplay(replaySubject(context, announcement, body, i, replayed[g]![i]!)).answer === 'reject',
    ),
  ).length;
}

/** Distributions at every completion token, [group][sequence][token]. */
async function distributions(
  groups: readonly MadeGroup[],
  weights: Weights,
  json: string,
  temperature: number,
): Promise<Float64Array[][][]> {
  const config = parseModelConfig(JSON.parse(json));
  const runner = await session(buildPrefillGraph(config, { logits: 'all', hidden: false }).model);
  const feeds = weightFeeds(weights);
  const found: Float64Array[][][] = [];
  for (const { body } of groups) {
    const { prompt, sequences } = body;
    const width = prompt.length + Math.max(...sequences.map(({ tokens }) => tokens.length));
    const ids = new Int32Array(sequences.length * width);
    sequences.forEach(({ tokens }, i) => {
      ids.set(prompt, i * width);
      ids.set(tokens, i * width + prompt.length);
    });
    const { logits } = await runner.run({ ...feeds, input_ids: int32(ids, [sequences.length, width]) });
    const all = logits!.data as Float32Array;
    found.push(
      sequences.map(({ tokens }, i) =>
        Array.from(tokens, (_, t) => {
          const at = (i * width + prompt.length - 1 + t) * config.vocabSize;
          return softmax(all.slice(at, at + config.vocabSize), temperature, tokenCount(context));
        }),
      ),
    );
  }
  await runner.release();
  return found;
}

/** Of each group, the chance that a forger is caught: by its overlapping intervals, and by ½·L1 alone (spec/rollouts.md). */
function theory(groups: readonly MadeGroup[], lying: Float64Array[][][], truth: Float64Array[][][]) {
  return groups.map(({ body }, g) => {
    const pass = { overlap: 1, halfL1: 1 };
    body.sequences.forEach(({ tokens }, i) => {
      tokens.forEach((token, t) => {
        const [q, p] = [lying[g]![i]![t]!, truth[g]![i]![t]!];
        const [own, due] = [intervalOf(q, token), intervalOf(p, token)];
        const common = Math.min(own.upTo, due.upTo) - Math.max(own.below, due.below);
        pass.overlap *= Math.max(0, common) / (own.upTo - own.below);
        pass.halfL1 *= 1 - q.reduce((sum, value, id) => sum + Math.abs(value - p[id]!), 0) / 2;
      });
    });
    return { overlap: 1 - pass.overlap, halfL1: 1 - pass.halfL1 };
  });
}

for (const lie of LIES) {
  test(lie.name, async (t) => {
    const files = await filesOf(lie, await tempDir(t));
    await engine.load(files);
    const sampling = { ...samplingOf(context), temperature: lie.temperature ?? 1 };
    const careless = await groupsBy(engine, files.policyRoot, context, newPeer(), GROUPS, sampling);
    const replayed: (readonly ReplayedSequence[])[] = [];
    for (const { body } of careless) {
      const requests = body.sequences.map(({ tokens }) => ({ prompt: body.prompt.slice(), tokens: tokens.slice() }));
      replayed.push(await engine.replay(starter.files.policyRoot, samplingOf(context), requests));
    }
    const forged = careless.map((group, g) => ({
      ...group,
      body: {
        ...group.body,
        sequences: group.body.sequences.map((each, i) => {
          const { logprobs, hidden } = replayed[g]![i]!;
          return { ...each, logprobs, proofs: proveCompletion(hidden, context.hiddenSize) };
        }),
      },
    }));
    const weights = lie.weights ?? starter.weights;
    const lying = await distributions(careless, weights, lie.configJson ?? configJson, sampling.temperature);
    const truth = await distributions(careless, starter.weights, configJson, 1);
    const chances = theory(careless, lying, truth);
    const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
    const expected = sum(chances.map(({ overlap }) => overlap));
    const deviation = Math.sqrt(sum(chances.map(({ overlap }) => overlap * (1 - overlap))));
    const halfL1 = sum(chances.map((each) => each.halfL1));
    const caught = { careless: rejected(careless, replayed), forged: rejected(forged, replayed) };
    t.diagnostic(
      `of ${GROUPS} groups caught: careless ${caught.careless}, forged ${caught.forged} (theory ${expected.toFixed(1)} ± ${deviation.toFixed(1)}, at least ${halfL1.toFixed(1)} by half L1)`,
    );
    assert.ok(caught.careless >= lie.careless, `careless: ${caught.careless}`);
    assert.ok(
      Math.abs(caught.forged - expected) <= 4 * deviation + 0.5,
      `forged: ${caught.forged}, theory ${expected}`,
    );
    assert.ok(expected >= halfL1 - 1e-6, 'half the L1 distance is what draws in id order catch at least');
  });
}

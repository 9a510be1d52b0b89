// Honest work of a model of SmolLM2-135M's shape held against the limits that a calibration finds: groups of 4 × 32 tokens, across
// thread counts, batch sizes and cache buckets. Random weights: what is asked is how far engines differ, not what is said.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { showCalibration } from '../../node/cli/calibration-progress.ts';
import { createPolicyEngine } from '../../node/model/engine/engine.ts';
import { loadModelFolder, saveModelFolder } from '../../node/model/folder.ts';
import { policyRoot } from '../../node/model/policy-root.ts';
import { toHex } from '../../node/protocol/bytes.ts';
import type { PolicyFiles } from '../../node/protocol/ports.ts';
import { type CalibrationResult, calibrate } from '../../verifier/calibration/calibrate.ts';
import type { Setting } from '../../verifier/calibration/groups.ts';
import { shippedTemplate } from '../support/recipe-sources.ts';
import { starterTokenizer, testRecipe } from '../verifier/support/swarm.ts';
import { type BenchContext, type Benchmark, type Row, row } from './harness.ts';
import { largeModel } from './shapes.ts';

const GROUPS = 500;
/** Groups that limits are found on, beside them. */
const LIMIT_SHARE = 1 / 5;
const GROUP_SIZE = 4;
const NEW_TOKENS = 32;
const THREADS = [1, 2] as const;
const MEMORY_BYTES = 3e9;

/** Sequences that fill the engine's rows, and half as many in a cache that one long sequence widens. */
function settingsOf(memoryBytes: number): readonly Setting[] {
  const engines = THREADS.map((threads) => ({ threads, engine: createPolicyEngine({ threads, memoryBytes }) }));
  return [
    { groupsPerCall: 32, crowdTokens: 0 },
    { groupsPerCall: 16, crowdTokens: 80 },
  ].flatMap((batch) =>
    engines.map(({ threads, engine }) => ({
      name: `${threads} threads, ${batch.groupsPerCall} groups a call${batch.crowdTokens > 0 ? ', wider cache' : ''}`,
      ...{ engine, ...batch },
    })),
  );
}

async function calibrateLarge(
  settings: readonly Setting[],
  dir: string,
  groups: number,
  signal: AbortSignal,
): Promise<CalibrationResult> {
  const { sampling } = shippedTemplate('arrows') as { readonly sampling: object };
  const recipe = testRecipe({}, { groupSize: GROUP_SIZE, sampling: { ...sampling, maxNewTokens: NEW_TOKENS } });
  const made = largeModel();
  await saveModelFolder(dir, made);
  const { weights, config, configJson } = await loadModelFolder(dir);
  const files: PolicyFiles = {
    ...{ policyRoot: toHex(policyRoot(weights)), configJson },
    weightsFile: join(dir, 'model.safetensors'),
  };
  const { vocabSize, hiddenSize } = config;
  const tokenizer = { ...starterTokenizer(), vocabSize };
  const limitGroups = Math.max(1, Math.round(groups * LIMIT_SHARE));
  return calibrate(
    {
      settings,
      loadLie: () => Promise.reject(new Error('no lie is told')),
      onProgress: showCalibration(process.stderr, limitGroups + groups),
    },
    {
      truth: {
        context: { recipe, tokenizer, modelVocabulary: vocabSize, hiddenSize },
        policyRoot: files.policyRoot,
      },
      ...{ files, lies: [], limitGroups, honestGroups: groups, lieGroups: 0, signal },
      material: { policy: { weights, configJson }, previous: null, learningRate: 0 },
    },
  );
}

function told({ limits, honest, pairs }: CalibrationResult): string {
  const found = limits.map(({ limit, found, honestLargest }) => `${limit} ${found} (largest ${honestLargest})`);
  const held = pairs.map(
    ({ made, replayed, rejected }) => `    ${made} → ${replayed}: ${rejected.count} of ${rejected.of}`,
  );
  const { groups, tokens, softMisses, verdict } = honest;
  return [
    `  ${groups} groups, ${tokens} tokens, ${verdict.borderline} borderline, ${softMisses} soft misses; limits ${found.join(', ')}`,
    ...held,
  ].join('\n');
}

async function run({ inputs, note }: BenchContext): Promise<readonly Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'murmur-bench-calibration-'));
  const settings = settingsOf(MEMORY_BYTES);
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  process.once('SIGINT', stop);
  try {
    const result = await calibrateLarge(settings, dir, inputs ?? GROUPS, controller.signal);
    note(told(result));
    const { count, of, high } = result.honest.verdict.groups;
    const atMost = { of: 'value', atMost: 0 } as const;
    return [
      row({ name: `135 M shape: honest groups rejected, of ${of}`, value: count, unit: 'groups', target: atMost }),
      row({ name: '135 M shape: their share, Clopper-Pearson 97.5 % bound', value: 100 * high, unit: '%' }),
    ];
  } finally {
    process.off('SIGINT', stop);
    for (const engine of new Set(settings.map((each) => each.engine))) await engine.close();
    await rm(dir, { recursive: true, force: true });
  }
}

export const calibrationLarge: Benchmark = { name: 'calibration-large', isLong: true, run };

// The policies of a worker: those used last stay within the memory budget, others come back from their files or say why not.

import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseModelConfig } from '../../../../node/model/config.ts';
import { planEngine } from '../../../../node/model/engine/plan.ts';
import { createPolicies } from '../../../../node/model/engine/policies.ts';
import { fromUtf8 } from '../../../../node/protocol/bytes.ts';
import { isSwarmError } from '../../../../node/protocol/errors.ts';
import type { PolicyFiles } from '../../../../node/protocol/ports.ts';
import { policyAt, TEXTS } from '../../../support/policies.ts';
import { tempDir } from '../../../support/temp-dir.ts';

const CONFIG_JSON = fromUtf8(TEXTS.config);
const { policyBytes } = planEngine(parseModelConfig(JSON.parse(CONFIG_JSON)), { memoryBytes: 1 });
/** Half of the budget is for weights (plan.ts); no bound copy fits beside these. */
const memoryFor = (policies: number): number => 2 * policyBytes * (policies + 0.1);

async function filesOf(dir: string, n: number): Promise<PolicyFiles> {
  const { weights, root } = policyAt(n);
  const weightsFile = join(dir, `${n}.safetensors`);
  await writeFile(weightsFile, weights);
  return { policyRoot: root, configJson: CONFIG_JSON, weightsFile };
}

test('the policies used last stay in memory; one that left comes back from its file, or says that it is gone', async (t) => {
  const dir = await tempDir(t);
  const policies = createPolicies({ threads: 1, memoryBytes: memoryFor(2) });
  const [first, second, third] = await Promise.all([0, 1, 2].map((n) => filesOf(dir, n)));
  for (const files of [first!, second!]) await policies.load(files, null);
  const kept = await policies.use(first!.policyRoot);
  await policies.load(third!, null);
  // The second was used longest ago: it left. What lies on disk shows which are in memory.
  for (const { weightsFile } of [first!, third!]) await rm(weightsFile);
  assert.equal(await policies.use(first!.policyRoot), kept);
  await policies.use(third!.policyRoot);
  const again = await policies.use(second!.policyRoot);
  assert.equal(await policies.use(second!.policyRoot), again);
  await assert.rejects(policies.use(first!.policyRoot), (error) => isSwarmError(error, 'MODEL_FILE_MISSING'));
  await policies.dispose();
});

test('a policy that the budget does not hold is refused before its file is read', async (t) => {
  const dir = await tempDir(t);
  const policies = createPolicies({ threads: 1, memoryBytes: memoryFor(0.5) });
  const files = await filesOf(dir, 0);
  await rm(files.weightsFile);
  await assert.rejects(policies.load(files, null), (error) => isSwarmError(error, 'OUT_OF_MEMORY_BUDGET'));
  await policies.dispose();
});

// The check of a weights file: the same root from memory and from disk, what it refuses, and that it lets others have their turn.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { policyRoot } from '../../node/model/policy-root.ts';
import { writeSafetensors } from '../../node/model/safetensors.ts';
import { toHex } from '../../node/protocol/bytes.ts';
import { rootOfWeights } from '../../shardcast/weights.ts';
import { randomModel } from '../support/random-model.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Its largest tensor is 3 pieces long. */
const MODEL = randomModel({ hiddenSize: 64, vocabSize: 20_000 });

test('bytes and file give the root of the weights, and the event loop turns between pieces', async (t) => {
  const bytes = writeSafetensors(MODEL.weights, 'BF16');
  const path = join(await tempDir(t), 'model.safetensors');
  await writeFile(path, bytes);
  let turns = 0;
  let timer = setImmediate(function turn() {
    turns += 1;
    timer = setImmediate(turn);
  });
  const root = await rootOfWeights(bytes, MODEL.config);
  clearImmediate(timer);
  assert.equal(root, toHex(policyRoot(MODEL.weights)));
  assert.equal(await rootOfWeights(path, MODEL.config), root);
  assert.ok(turns >= bytes.length / (1 << 20), `${turns} turns for ${bytes.length} bytes`);
});

test('a value that is not finite in a later piece is named by its index', async () => {
  const [name, tensor] = [...MODEL.weights].find(([, { data }]) => data.length > 1 << 20)!;
  const data = tensor.data.slice();
  data[(1 << 20) + 5] = Number.NaN;
  const weights = new Map(MODEL.weights).set(name, { ...tensor, data });
  await assert.rejects(rootOfWeights(writeSafetensors(weights, 'BF16'), MODEL.config), {
    code: 'NON_FINITE_WEIGHT',
    detail: { tensor: name, index: (1 << 20) + 5 },
  });
});

test('float32 is refused: policies are published in bf16', async () => {
  await assert.rejects(rootOfWeights(writeSafetensors(MODEL.weights, 'F32'), MODEL.config), {
    code: 'MODEL_FILE_CORRUPT',
  });
});

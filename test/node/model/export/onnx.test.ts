// The exported ONNX folder is run by transformers.js itself and held, token for token, against PyTorch's continuations
// and against our own decode graph; batches are padded on the left, as its pipeline does.

import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { AutoModelForCausalLM, env, pipeline, Tensor } from '@huggingface/transformers';
import { writeOnnxFiles } from '../../../../node/model/export/onnx.ts';
import { type ExportSource, readExportSource } from '../../../../node/model/export/source.ts';
import { loadTokenizer } from '../../../../node/model/tokenizer.ts';
import { greedyContinuation } from '../../../support/greedy.ts';
import { loadCase, modelCases } from '../../../support/model-vectors.ts';
import { randomModel } from '../../../support/random-model.ts';
import { tempDir } from '../../../support/temp-dir.ts';

env.allowRemoteModels = false;

const STARTER = new URL('../../../../recipes/starter', import.meta.url).pathname;
const NEW_TOKENS = 24;
/** An id that no model here ends with: continuations of one length. */
const NO_END = 1_000_000;

type Exported = Pick<ExportSource, 'config' | 'configJson' | 'weights'>;

async function exported(t: TestContext, source: Exported): Promise<string> {
  const dir = await tempDir(t);
  await writeOnnxFiles(dir, { files: new Map(), ...source });
  return dir;
}

/** What transformers.js continues prompts with, padded on the left to one length. */
async function continued(dir: string, prompts: readonly (readonly number[])[], count: number): Promise<number[][]> {
  const model = await AutoModelForCausalLM.from_pretrained(dir, { device: 'cpu' });
  const longest = Math.max(...prompts.map((prompt) => prompt.length));
  const grid = (cell: (prompt: readonly number[], at: number) => number): Tensor => {
    const values = prompts.flatMap((prompt) =>
      Array.from({ length: longest }, (_, k) => BigInt(cell(prompt, k - longest + prompt.length))),
    );
    return new Tensor('int64', BigInt64Array.from(values), [prompts.length, longest]);
  };
  try {
    const made = (await model.generate({
      inputs: grid((prompt, at) => prompt[at] ?? 0),
      attention_mask: grid((_, at) => (at < 0 ? 0 : 1)),
      max_new_tokens: count,
      do_sample: false,
      eos_token_id: NO_END,
    } as Parameters<typeof model.generate>[0])) as Tensor;
    return (made.tolist() as bigint[][]).map((ids) => ids.slice(longest).map(Number));
  } finally {
    await model.dispose();
  }
}

describe('exported to ONNX and run by transformers.js', () => {
  for (const one of modelCases()) {
    test(`${one.name}: PyTorch's greedy continuation`, async (t) => {
      const model = await loadCase(one);
      const [made] = await continued(await exported(t, model), [model.inputIds[0]!], model.greedyTokens.length);
      assert.deepEqual(made, model.greedyTokens);
    });
  }

  test('prompts of unlike lengths in one batch continue as each does alone', async (t) => {
    for (const shape of [
      {},
      { keyValueHeads: 4, headDim: 8, tiedHead: false },
      { attentionBias: true, mlpBias: true },
    ]) {
      const model = randomModel(shape, 7);
      const prompts = [[5, 6, 7, 8, 9, 10, 11], [3], [9, 2, 9]];
      const made = await continued(await exported(t, model), prompts, NEW_TOKENS);
      const ours = await Promise.all(prompts.map((prompt) => greedyContinuation(model, prompt, NEW_TOKENS)));
      assert.deepEqual(made, ours);
    }
  });

  test('the starter through the pipeline: texts and end as our own', async (t) => {
    const dir = await tempDir(t);
    const source = await readExportSource(STARTER);
    await writeOnnxFiles(dir, source);
    const tokenizer = await loadTokenizer(STARTER);
    const generator = await pipeline('text-generation', dir, { device: 'cpu' });
    try {
      for (const prompt of ['ad,bf,ca,de,eb,fc:a3=', 'ad,bf,ca,de,eb,fc:b1=']) {
        const ids = tokenizer.encode(prompt, { addSpecialTokens: true });
        const ours = await greedyContinuation(source, ids, NEW_TOKENS);
        const end = ours.indexOf(source.config.eosTokenIds[0]!);
        const [{ generated_text: text }] = (await generator(prompt, {
          max_new_tokens: NEW_TOKENS,
          do_sample: false,
        })) as [{ generated_text: string }];
        assert.ok(end > 0, 'the starter ends by itself');
        assert.equal(text, prompt + tokenizer.decode(ours.slice(0, end)));
      }
    } finally {
      await generator.dispose();
    }
  });
});

// The greedy continuation that our own decode graph gives: what an exported model is held against.

import type { ModelConfig } from '../../node/model/config.ts';
import { buildDecodeGraph } from '../../node/model/llama/decode.ts';
import type { Weights } from '../../node/model/weights.ts';
import { decodeLoop } from './decode-loop.ts';
import { session } from './run-graph.ts';

/** `count` tokens after the prompt, one sequence, end tokens like any other. */
export async function greedyContinuation(
  model: { readonly config: ModelConfig; readonly weights: Weights },
  prompt: readonly number[],
  count: number,
): Promise<number[]> {
  const runner = await session(buildDecodeGraph(model.config).model);
  try {
    const loop = decodeLoop(runner, model.config, model.weights, 1, prompt.length + count);
    const continued: number[] = [];
    for (let step = 0; continued.length < count; step++) {
      const { logits } = await loop.step([prompt[step] ?? continued.at(-1)!]);
      const values = logits!.data as Float32Array;
      if (step + 1 >= prompt.length) continued.push(values.indexOf(values.reduce((a, b) => Math.max(a, b))));
    }
    return continued;
  } finally {
    await runner.release();
  }
}

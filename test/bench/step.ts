// One whole GRPO step of the 5.6 M model: generation of its groups, then the update on them, AdamW included.
// The peer was measured elsewhere: TRL 1.16 with Hugging Face generate and PyTorch on two cores of such a machine took
// 2.0–2.2 s for the same step (issue 4), of which the lesser is taken here.

import { openTrainingCore } from '../../trainer/engine/core.ts';
import type { TrainSequence } from '../../trainer/engine/engine.ts';
import { createGeneration, type Generation, type GenerationSize } from './generation.ts';
import { type BenchContext, type Benchmark, median, millisecondsOf, type Row, row } from './harness.ts';
import { mediumModel } from './shapes.ts';
import { engineInit } from './training.ts';

const SIZE: GenerationSize = { groups: 2, groupSize: 16, promptTokens: 32, newTokens: 64 };
const ROUNDS = 7;
const TRL_MS = 2000;
const GAIN = 4;

/** What was generated, every other rollout of a group good and the others bad. */
export function rolloutsToLearn(
  { requests }: Pick<Generation, 'requests'>,
  made: Awaited<ReturnType<Generation['run']>>,
): TrainSequence[] {
  return requests.flatMap(({ prompt }, group) =>
    made[group]!.map(({ tokens, logprobs }, k) => ({
      prompt,
      tokens,
      advantage: k % 2 === 0 ? 1 : -1,
      logprobsWorker: logprobs,
    })),
  );
}

async function run({ threads }: BenchContext): Promise<readonly Row[]> {
  const model = mediumModel();
  const generation = await createGeneration(model, SIZE, threads);
  const engine = await openTrainingCore(engineInit(mediumModel(), threads));
  const steps: number[] = [];
  const generations: number[] = [];
  for (let k = 0; k <= ROUNDS; k++) {
    let generating = 0;
    const step = await millisecondsOf(async () => {
      const start = performance.now();
      const made = await generation.run();
      generating = performance.now() - start;
      await engine.update(rolloutsToLearn(generation, made));
    });
    if (k === 0) continue;
    steps.push(step);
    generations.push(generating);
  }
  await generation.dispose();
  await engine.close();
  const { groups, groupSize, promptTokens, newTokens } = SIZE;
  return [
    row({
      name: `GRPO step, 5.6 M, ${groups} × ${promptTokens} tokens × ${groupSize} × ${newTokens}: generation and training`,
      value: median(steps),
      unit: 'ms',
      peer: 'TRL 1.16, measured elsewhere',
      peerValue: TRL_MS,
      ratio: TRL_MS / median(steps),
      target: { of: 'ratio', atLeast: GAIN },
    }),
    row({
      name: 'GRPO step, 5.6 M: of it generation',
      value: median(generations),
      unit: 'ms',
      peer: 'the whole step',
      peerValue: median(steps),
    }),
  ];
}

export const step: Benchmark = { name: 'grpo-step', run };

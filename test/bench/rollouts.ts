// Rollouts: tokens/s of batched generation, and how much of its time is ours rather than ONNX Runtime's.

import { createGeneration, type GenerationSize } from './generation.ts';
import { type Benchmark, median, millisecondsOf, type Row, row, watchSessionRuns } from './harness.ts';
import { mediumModel, starterModel, wideModel } from './shapes.ts';

/** 64 rows in flight. */
const MEDIUM: GenerationSize = { groups: 4, groupSize: 16, promptTokens: 16, newTokens: 64 };
/** What the arrows recipe asks for: 21 characters of prompt, at most 16 tokens, a step's 256 sequences at once. */
const STARTER: GenerationSize = { groups: 16, groupSize: 16, promptTokens: 21, newTokens: 12 };
const ROUNDS = 5;

const OUTSIDE_SHARE = 0.15;
const STARTER_TOKENS_PER_SECOND = 15_000;

interface Speed {
  readonly tokensPerSecond: number;
  /** milliseconds of a run, and of it outside of session.run */
  readonly milliseconds: number;
  readonly outside: number;
  readonly outsideShare: number;
}

async function speedOf(model: ReturnType<typeof mediumModel>, size: GenerationSize, threads: number): Promise<Speed> {
  const clock = await watchSessionRuns();
  const generation = await createGeneration(model, size, threads);
  const totals: number[] = [];
  const outsides: number[] = [];
  try {
    for (let k = 0; k <= ROUNDS; k++) {
      clock.reset();
      const total = await millisecondsOf(generation.run);
      if (k === 0) continue;
      totals.push(total);
      outsides.push(total - clock.milliseconds());
    }
  } finally {
    clock.stop();
    await generation.dispose();
  }
  return {
    tokensPerSecond: generation.tokens / (median(totals) / 1000),
    milliseconds: median(totals),
    outside: median(outsides),
    outsideShare: median(outsides.map((outside, k) => outside / totals[k]!)),
  };
}

/** Share of a generation that is ours. */
function outsideRow(name: string, speed: Speed, isHeld: boolean): Row {
  return row({
    name: `rollouts: outside session.run, ${name}`,
    value: speed.outside,
    unit: 'ms',
    peer: 'the whole generation',
    peerValue: speed.milliseconds,
    ratio: speed.outsideShare,
    ...(isHeld ? { target: { of: 'ratio', atMost: OUTSIDE_SHARE } as const } : {}),
  });
}

async function run({ threads }: { readonly threads: number }): Promise<readonly Row[]> {
  const medium = await speedOf(mediumModel(), MEDIUM, threads);
  const starter = await speedOf(starterModel(), STARTER, threads);
  return [
    row({ name: 'rollouts: 5.6 M, 64 rows', value: medium.tokensPerSecond, unit: 'tokens/s' }),
    outsideRow('5.6 M, 64 rows', medium, true),
    row({
      name: 'rollouts: starter shape, 256 rows',
      value: starter.tokensPerSecond,
      unit: 'tokens/s',
      target: { of: 'value', atLeast: STARTER_TOKENS_PER_SECOND },
    }),
    outsideRow('starter shape, 256 rows', starter, false),
  ];
}

export const rollouts: Benchmark = { name: 'rollouts', run };

export const vocabulary: Benchmark = {
  name: 'vocabulary',
  async run({ threads }) {
    const rows: Row[] = [];
    for (const batch of [1, 8, 64]) {
      const groupSize = Math.min(batch, 16);
      const size = { groups: batch / groupSize, groupSize, promptTokens: 16, newTokens: 16 };
      const name = `5.6 M's layers and 151 936 ids, batch ${batch}`;
      const speed = await speedOf(wideModel(), size, threads);
      rows.push(row({ name: `rollouts: ${name}`, value: speed.tokensPerSecond, unit: 'tokens/s' }));
      rows.push(outsideRow(name, speed, true));
    }
    return rows;
  },
};

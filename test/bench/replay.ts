// Replay and proof check of generated rollouts, against a plain prefill of the same shape (prompt and completion in, the
// last token's logits out), and as a share of what generating them took. Checks are the verifier's own three questions.

import { createReplayer } from '../../node/model/engine/replayer.ts';
import { createGraphSession, intTensor, weightFeeds } from '../../node/model/engine/session.ts';
import { buildPrefillGraph } from '../../node/model/llama/prefill.ts';
import { drawnWithin } from '../../node/model/sampling/draw.ts';
import type { GeneratedSequence, ReplayedSequence, ReplayRequest } from '../../node/protocol/ports.ts';
import { uniforms } from '../../node/protocol/seeds.ts';
import { compareCompletion, decodeProofs, proveCompletion } from '../../verifier/toploc/completion.ts';
import type { RandomModel } from '../support/random-model.ts';
import { createGeneration, type GenerationSize } from './generation.ts';
import { type Benchmark, median, medianRatio, type Row, rounds, row } from './harness.ts';
import { mediumModel, starterModel } from './shapes.ts';

const MEDIUM: GenerationSize = { groups: 2, groupSize: 16, promptTokens: 16, newTokens: 65 };
const STARTER: GenerationSize = { groups: 16, groupSize: 16, promptTokens: 21, newTokens: 12 };
const ROUNDS = 5;
const PREFILL_SHARE = 0.7;
/** δ of spec/rollouts.md; a replay that fails here would not be the work that is measured. */
const DELTA = 1e-3;

interface Rollout extends ReplayRequest {
  readonly seed: Uint8Array;
  readonly proofs: Uint8Array;
}

/** @returns how many tokens or proofs do not check out */
function check(rollouts: readonly Rollout[], replayed: readonly ReplayedSequence[], hiddenSize: number): number {
  let wrong = 0;
  rollouts.forEach(({ tokens, seed, proofs }, k) => {
    const { below, upTo, hidden } = replayed[k]!;
    for (const [t, u] of uniforms(seed, tokens.length).entries()) {
      if (!drawnWithin(u, below[t]!, upTo[t]!, DELTA)) wrong++;
    }
    const read = decodeProofs(proofs, tokens.length, hiddenSize);
    if ('problem' in read) wrong++;
    else for (const { exponentMismatches } of compareCompletion(hidden, hiddenSize, read)) wrong += exponentMismatches;
  });
  return wrong;
}

/** Prompt and completion of all rollouts, of equal lengths, in one pass. */
async function plainPrefill({ config, weights }: RandomModel, rollouts: readonly Rollout[], threads: number) {
  const session = await createGraphSession(buildPrefillGraph(config, { hidden: false, logits: 'last' }), { threads });
  const width = rollouts[0]!.prompt.length + rollouts[0]!.tokens.length - 1;
  const ids = new Int32Array(rollouts.length * width);
  rollouts.forEach(({ prompt, tokens }, row) => {
    ids.set(prompt, row * width);
    ids.set(tokens.subarray(0, -1), row * width + prompt.length);
  });
  const feeds = {
    ...weightFeeds(weights),
    input_ids: intTensor(ids, [rollouts.length, width]),
    lengths: intTensor(new Int32Array(rollouts.length).fill(width), [rollouts.length]),
  };
  return { run: () => session.run(feeds), dispose: () => session.dispose(), tokens: rollouts.length * width };
}

async function measure(name: string, model: RandomModel, size: GenerationSize, threads: number): Promise<Row[]> {
  const { config, weights } = model;
  const generation = await createGeneration(model, size, threads);
  const made: readonly (readonly GeneratedSequence[])[] = await generation.run();
  const rollouts: Rollout[] = generation.requests.flatMap(({ prompt, sequenceSeeds }, group) =>
    made[group]!.map(({ tokens, hidden }, k) => ({
      prompt,
      tokens,
      seed: sequenceSeeds[k]!,
      proofs: proveCompletion(hidden, config.hiddenSize),
    })),
  );
  const replayer = createReplayer(config, { threads, activationBytes: 256 << 20 });
  const prefill = await plainPrefill(model, rollouts, threads);
  const feeds = weightFeeds(weights);
  let wrong = 0;
  const times = await rounds(
    {
      generate: generation.run,
      prefill: prefill.run,
      replay: async () => {
        const answers = await replayer.replay({ weights: feeds, sampling: generation.sampling, sequences: rollouts });
        wrong += check(rollouts, answers, config.hiddenSize);
      },
    },
    ROUNDS,
  );
  await generation.dispose();
  await replayer.dispose();
  await prefill.dispose();
  if (wrong > 0) throw new Error(`replay of ${name} disagrees with generation ${wrong} times: figures mean nothing`);
  const perSecond = (ms: number): number => prefill.tokens / (ms / 1000);
  return [
    row({
      name: `replay + proof check: ${name}`,
      value: perSecond(median(times.replay)),
      unit: 'tokens/s',
      peer: 'plain prefill',
      peerValue: perSecond(median(times.prefill)),
      ratio: medianRatio(times.prefill, times.replay),
      target: { of: 'ratio', atLeast: PREFILL_SHARE },
    }),
    row({
      name: `replay + proof check beside generation: ${name}`,
      value: median(times.replay),
      unit: 'ms',
      peer: 'generating the same',
      peerValue: median(times.generate),
      ratio: medianRatio(times.replay, times.generate),
    }),
  ];
}

async function run({ threads }: { readonly threads: number }): Promise<readonly Row[]> {
  return [
    ...(await measure('5.6 M, 32 rows', mediumModel(), MEDIUM, threads)),
    ...(await measure('starter shape, 256 rows', starterModel(), STARTER, threads)),
  ];
}

export const replay: Benchmark = { name: 'replay', run };

// Generation of whole groups as a node does it, in this process: what rollouts and replay are measured on.

import { createHash } from 'node:crypto';
import { createDecoder, type Decoder } from '../../node/model/engine/decoder.ts';
import { weightFeeds } from '../../node/model/engine/session.ts';
import type { GeneratedSequence, GenerateRequest, SamplingSettings } from '../../node/protocol/ports.ts';
import { type RandomModel, randomNumbers } from '../support/random-model.ts';

const CACHE_BYTES = 1 << 30;
const ACTIVATION_BYTES = 256 << 20;

/** How much is generated: `groups` prompts of `promptTokens`, each continued `groupSize` times by `newTokens`. */
export interface GenerationSize {
  readonly groups: number;
  readonly groupSize: number;
  readonly promptTokens: number;
  readonly newTokens: number;
}

export interface Generation {
  readonly requests: readonly GenerateRequest[];
  readonly sampling: SamplingSettings;
  /** completion tokens of one `run` */
  readonly tokens: number;
  run(): Promise<readonly (readonly GeneratedSequence[])[]>;
  dispose(): Promise<void>;
}

/** No end token: every sequence runs to its full length, so that every run is equal work. */
export async function createGeneration(
  { config, weights }: RandomModel,
  size: GenerationSize,
  threads: number,
  binding: 'bound' | 'fed' = 'bound',
): Promise<Generation> {
  const random = randomNumbers(5);
  const requests = Array.from({ length: size.groups }, (_, group) => ({
    prompt: Uint32Array.from({ length: size.promptTokens }, () => Math.floor(random() * config.vocabSize)),
    sequenceSeeds: Array.from({ length: size.groupSize }, (_, k) =>
      createHash('sha256').update(`bench ${group} ${k}`).digest(),
    ),
  }));
  const sampling: SamplingSettings = {
    temperature: 1,
    topK: 0,
    topP: 1,
    maxNewTokens: size.newTokens,
    endTokens: [],
    tokenCount: config.vocabSize,
  };
  const decoder: Decoder = await createDecoder(config, {
    threads,
    binding,
    cacheBytes: CACHE_BYTES,
    activationBytes: ACTIVATION_BYTES,
  });
  const feeds = weightFeeds(weights);
  return {
    requests,
    sampling,
    tokens: size.groups * size.groupSize * size.newTokens,
    run: () => decoder.generate({ weights: feeds, sampling, groups: requests }),
    dispose: () => decoder.dispose(),
  };
}

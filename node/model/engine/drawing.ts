// How a batch's tokens are drawn: what its decode graph is asked for, what that is fed beside the rows, and what its
// answers mean for each uniform number. The arithmetic is in sampling/probabilities.ts.

import type { SamplingSettings } from '../../protocol/ports.ts';
import type { ModelConfig } from '../config.ts';
import { type NextTokenOutput, outputFor } from '../llama/next-token.ts';
import { chunkCount, paddedVocabularyMask } from '../llama/scoring.ts';
import { hasCut, rowOf } from '../sampling/distribution.ts';
import type { Draw } from '../sampling/draw.ts';
import { createRowDraw, drawFromChunks } from '../sampling/probabilities.ts';
import { floatsOf, floatTensor, intTensor, type Tensors } from './session.ts';

/** One token to be drawn: by `u`, from what follows row `row`. */
export interface Pick {
  readonly row: number;
  readonly u: number;
}

export interface Drawing {
  /** what the decode graph has to be built for */
  readonly output: NextTokenOutput;
  feeds(picks: readonly Pick[]): Tensors;
  /** One draw a pick. @throws {SwarmError} ENGINE_FAILED when the policy gives no distribution */
  draws(outputs: Tensors, picks: readonly Pick[]): readonly Draw[];
}

/** How far float32 running sums in the graph may be off, relatively (a few 1e-7 measured): a number this near the border of
 * two chunks gets both. */
const SUM_ERROR = 4e-6;

export function createDrawing(config: ModelConfig, sampling: SamplingSettings): Drawing {
  const { vocabSize } = config;
  const tokenCount = Math.min(sampling.tokenCount, vocabSize);
  const mask = paddedVocabularyMask(config, tokenCount) ?? new Float32Array(vocabSize);
  const shared: Tensors = {
    temperature: floatTensor(Float32Array.of(sampling.temperature), []),
    vocabulary_mask: floatTensor(mask, [vocabSize]),
  };
  const output = outputFor(vocabSize, hasCut(sampling, tokenCount));
  if (output === 'chunks') return chunkDrawing(vocabSize, shared);
  const draw = createRowDraw(sampling, tokenCount);
  return {
    output,
    feeds: () => shared,
    draws: (outputs, picks) => {
      const rows = floatsOf(outputs, 'probabilities');
      return picks.map(({ row, u }) => draw(rowOf(rows, row, vocabSize), u));
    },
  };
}

function chunkDrawing(vocabSize: number, shared: Tensors): Drawing {
  const chunks = chunkCount(vocabSize);
  const width = vocabSize / chunks;
  return {
    output: 'chunks',
    feeds: (picks) => {
      // A step that draws nothing asks for one pick all the same: no tensor is empty.
      const asked = picks.length === 0 ? [{ row: 0, u: 0 }] : picks;
      const near = Float32Array.from(asked.flatMap(({ u }) => [u * (1 - SUM_ERROR), (1 - u) * (1 - SUM_ERROR)]));
      return {
        ...shared,
        'picks.row': intTensor(
          Int32Array.from(asked, ({ row }) => row),
          [asked.length],
        ),
        'picks.near': floatTensor(near, [asked.length, 2]),
      };
    },
    draws: (outputs, picks) => {
      const sums = floatsOf(outputs, 'sums');
      const places = outputs['picks.chunk']!.data as Int32Array;
      const probabilities = floatsOf(outputs, 'picks.probabilities');
      return picks.map(({ row, u }, k) =>
        drawFromChunks(
          {
            sums: rowOf(sums, row, chunks),
            first: places[2 * k]!,
            last: places[2 * k + 1]!,
            probabilities: rowOf(probabilities, k, 2 * width),
          },
          u,
        ),
      );
    },
  };
}

// How many positions a graph's rotary tables hold. A config may boast of millions that nobody uses, so tables begin with
// LEAST and grow by doubling to what is asked for: at 8 192 positions and heads of 64 they take 2 MB a graph, at 131 072
// 34 MB. (Angles worked out in the graph would need no table, but GPUs' cos and sin of large ones are coarse.)

import { SwarmError } from '../../protocol/errors.ts';
import type { ModelConfig } from '../config.ts';

const LEAST = 8_192;

/**
 * @param tokens of a sequence, prompt and completion
 * @throws {SwarmError} TOO_LARGE: more than the model has positions
 */
export function checkPositions({ maxPositions: positions }: Pick<ModelConfig, 'maxPositions'>, tokens: number): void {
  if (tokens <= positions) return;
  throw new SwarmError(
    'TOO_LARGE',
    `${tokens} tokens, prompt and completion, exceed the ${positions} positions that this model was made for (max_position_embeddings); shorten one.`,
    { tokens, positions },
  );
}

/** Positions of the tables that sequences of so many tokens need: at most the config's own. */
export function tablePositions({ maxPositions }: Pick<ModelConfig, 'maxPositions'>, tokens: number): number {
  let positions = LEAST;
  while (positions < tokens) positions *= 2;
  return Math.min(positions, maxPositions);
}

/** The config of graphs for sequences of so many tokens. */
export function forTokens(config: ModelConfig, tokens: number): ModelConfig {
  return { ...config, maxPositions: tablePositions(config, tokens) };
}

// Sessions that keep up with the length of what they run: their graphs' tables of positions reach over the longest sequence
// so far (see tablePositions), and are built anew for a longer one.

import type { ModelConfig } from '../../node/model/config.ts';
import { checkPositions, forTokens, tablePositions } from '../../node/model/llama/positions.ts';
import type { PromptedSequence } from './micro-batch.ts';
import type { GraphKind, GraphRunner, Sessions } from './sessions.ts';

export interface GrowingSessions {
  /** @throws {SwarmError} TOO_LARGE: more tokens than the model has positions */
  get(kind: GraphKind, sequences: readonly Pick<PromptedSequence, 'prompt' | 'tokens'>[]): Promise<GraphRunner>;
  release(): Promise<void>;
}

/** @param build sessions of a config, the model's own but for its positions */
export function createGrowingSessions(config: ModelConfig, build: (config: ModelConfig) => Sessions): GrowingSessions {
  let positions = tablePositions(config, 0);
  let sessions = build(forTokens(config, 0));
  return {
    async get(kind, sequences) {
      const tokens = sequences.reduce((most, each) => Math.max(most, each.prompt.length + each.tokens.length), 0);
      checkPositions(config, tokens);
      if (tablePositions(config, tokens) > positions) {
        await sessions.release();
        positions = tablePositions(config, tokens);
        sessions = build(forTokens(config, tokens));
      }
      return sessions.get(kind);
    },
    release: () => sessions.release(),
  };
}

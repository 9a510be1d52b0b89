// [REJECT] The body has as many sequences as the recipe's group, each as long as announced and within maxNewTokens.
// Source: spec/rollouts.md stage 1 "sizes". Exact: one side.

import { ACCEPT, type CheckAnswer, reject } from '../../node/protocol/check.ts';
import type { BodySubject, Check } from './subject.ts';

export const sizes: Check<BodySubject> = { name: 'sizes', cost: 'constant', run: checkSizes };

function checkSizes({ context, announcement, body }: BodySubject): CheckAnswer {
  const { groupSize, sampling } = context.recipe.recipe;
  const counts = [body.sequences.length, announcement.lengths.length, announcement.rewards.length];
  for (const measured of counts) {
    if (measured !== groupSize)
      return reject('SIZE_MISMATCH', { measured, limit: groupSize, note: 'rollouts in the group' });
  }
  for (let sequence = 0; sequence < groupSize; sequence++) {
    const { tokens, logprobs } = body.sequences[sequence]!;
    const announced = announcement.lengths[sequence]!;
    if (tokens.length !== announced || logprobs.length !== announced) {
      return reject('SIZE_MISMATCH', { sequence, measured: tokens.length, limit: announced, note: 'announced length' });
    }
    if (tokens.length < 1 || tokens.length > sampling.maxNewTokens) {
      return reject('SIZE_MISMATCH', {
        sequence,
        measured: tokens.length,
        limit: sampling.maxNewTokens,
        note: 'maxNewTokens',
      });
    }
  }
  return ACCEPT;
}

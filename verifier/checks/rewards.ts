// [REJECT] Every announced reward is what the recipe's rewards give for the completion's text.
// Source: spec/rollouts.md stage 1 "rewards recomputed equal"; the end token is removed before decoding (spec/wire.md "Text").

import { ACCEPT, type CheckAnswer, reject } from '../../node/protocol/check.ts';
import type { BodySubject, Check } from './subject.ts';

export const rewards: Check<BodySubject> = { name: 'rewards', cost: 'text', run: checkRewards };

function checkRewards({ context, announcement, body, problem }: BodySubject): CheckAnswer {
  for (let sequence = 0; sequence < body.sequences.length; sequence++) {
    const { tokens, finish } = body.sequences[sequence]!;
    const text = context.tokenizer.decode(finish === 'eos' ? tokens.subarray(0, tokens.length - 1) : tokens);
    const due = context.recipe.score(problem, text);
    const claimed = announcement.rewards[sequence]!;
    if (claimed !== due) {
      return reject('REWARD_MISMATCH', {
        sequence,
        measured: claimed,
        limit: due,
        note: 'claimed against due, in millionths',
      });
    }
  }
  return ACCEPT;
}

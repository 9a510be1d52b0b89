// [REJECT] Every token is an id that has a token, in the tokenizer and in the model.
// Source: spec/rollouts.md stage 1 "tokens in range"; ids of padded rows have probability 0.

import { ACCEPT, type CheckAnswer, reject } from '../../node/protocol/check.ts';
import { type BodySubject, type Check, tokenCount } from './subject.ts';

export const tokens: Check<BodySubject> = { name: 'tokens', cost: 'tokens', run: checkTokens };

function checkTokens({ context, body }: BodySubject): CheckAnswer {
  const limit = tokenCount(context);
  for (let sequence = 0; sequence < body.sequences.length; sequence++) {
    const list = body.sequences[sequence]!.tokens;
    for (let position = 0; position < list.length; position++) {
      if (list[position]! >= limit) {
        return reject('TOKEN_OUT_OF_RANGE', { sequence, position, measured: list[position]!, limit });
      }
    }
  }
  return ACCEPT;
}

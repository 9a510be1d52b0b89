// [REJECT] A completion ends at its first end token (`eos`), or without one after exactly maxNewTokens (`length`).
// Source: spec/rollouts.md "Sampling"; spec/wire.md "Text" (tokens include the end token).

import { ACCEPT, type CheckAnswer, reject } from '../../node/protocol/check.ts';
import type { BodySubject, Check } from './subject.ts';

export const finish: Check<BodySubject> = { name: 'finish', cost: 'tokens', run: checkFinish };

function checkFinish({ context, body }: BodySubject): CheckAnswer {
  const { endTokens, maxNewTokens } = context.recipe.recipe.sampling;
  for (let sequence = 0; sequence < body.sequences.length; sequence++) {
    const { tokens, finish } = body.sequences[sequence]!;
    const last = tokens.length - 1;
    const end = tokens.findIndex((token) => endTokens.includes(token));
    if (end >= 0 && end < last) {
      return reject('FINISH_REASON', { sequence, position: end, note: 'tokens after an end token' });
    }
    const due = end === last ? 'eos' : 'length';
    if (finish !== due)
      return reject('FINISH_REASON', { sequence, position: last, note: `ends by ${due}, says ${finish}` });
    if (due === 'length' && tokens.length !== maxNewTokens) {
      return reject('FINISH_REASON', {
        sequence,
        position: last,
        measured: tokens.length,
        limit: maxNewTokens,
        note: 'stops early without an end token',
      });
    }
  }
  return ACCEPT;
}

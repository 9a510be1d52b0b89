// [REJECT] The prompt is the one that recipe, policy, peer and slot make, token for token.
// Source: spec/rollouts.md stage 1; spec/wire.md "Text", in recipes/prompt.ts.

import { ACCEPT, type CheckAnswer, reject } from '../../node/protocol/check.ts';
import { promptOf } from '../../recipes/prompt.ts';
import type { BodySubject, Check } from './subject.ts';

export const prompt: Check<BodySubject> = { name: 'prompt', cost: 'constant', run: checkPrompt };

function checkPrompt({ context, body, problem }: BodySubject): CheckAnswer {
  const due = promptOf(context.tokenizer, problem).tokens;
  for (let position = 0; position < Math.max(due.length, body.prompt.length); position++) {
    if (due[position] !== body.prompt[position]) {
      return reject('PROMPT_MISMATCH', {
        position,
        measured: body.prompt[position] ?? -1,
        limit: due[position] ?? -1,
        note: 'token in the body against the one due; -1 where there is none',
      });
    }
  }
  return ACCEPT;
}

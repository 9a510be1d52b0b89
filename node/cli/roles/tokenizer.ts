// A recipe's tokenizer comes with its first policy: roles wait for it, and try it before they work with it.

import { checkFits } from '../../../recipes/prompt.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { SwarmError } from '../../protocol/errors.ts';
import type { FollowedRecipe } from '../participant.ts';
import { systemClock } from '../system.ts';

const POLL_MS = 200;

/**
 * The tokenizer, which has encoded one prompt of each of the recipe's splits.
 * @throws {SwarmError} INTERRUPTED when `signal` aborts before a policy is here; TOKENIZER_TOO_SLOW, and as `checkFits`
 */
export async function waitForTokenizer(followed: FollowedRecipe, signal: AbortSignal): Promise<Tokenizer> {
  while (!signal.aborted) {
    const tokenizer = await followed.tokenizer();
    if (tokenizer !== null) {
      checkFits(followed.known.resolved, tokenizer);
      return tokenizer;
    }
    await systemClock.sleep(POLL_MS, signal);
  }
  throw new SwarmError('INTERRUPTED', 'stopped before the first policy arrived');
}

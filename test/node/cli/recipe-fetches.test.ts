// Recipes that are announced and are hard to get: asked for again, whatever the clock says.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRecipeFetches } from '../../../node/cli/recipe-fetches.ts';
import { sha256, utf8 } from '../../../node/protocol/bytes.ts';
import { SwarmError } from '../../../node/protocol/errors.ts';
import { createKeyPair } from '../../../node/protocol/keys.ts';
import type { BlobFetcher, Clock } from '../../../node/protocol/ports.ts';
import { encodeRecipeAnnouncement } from '../../../node/protocol/recipe-announcement.ts';
import { signAs } from '../../support/memory-inbox.ts';
import { memoryBlobs } from '../../support/memory-store.ts';
import { silentLogger as logger } from '../../support/silent-logger.ts';

test('a recipe is tried again after its pause, also when the clock has not moved or was set back', async () => {
  const recipe = utf8('a recipe');
  // Timers fire a little early against the clock; here it goes backwards.
  let nowMs = 1e6;
  const clock: Clock = {
    nowMs: () => --nowMs,
    sleep: () => new Promise((resolve) => setImmediate(resolve)),
  };
  let tries = 0;
  const fetch: BlobFetcher['fetch'] = async () => {
    tries++;
    if (tries < 4) throw new SwarmError('BLOB_MISSING', 'nobody has it');
    return recipe;
  };
  const taken = Promise.withResolvers<Uint8Array>();
  const fetches = createRecipeFetches(
    {
      ...{ blobs: memoryBlobs(), clock, logger, signal: new AbortController().signal },
      fetcher: { fetch } as BlobFetcher,
    },
    {
      takeIn: (bytes) => {
        taken.resolve(bytes);
        return true;
      },
      isKnown: () => false,
      onGivenUp: () => taken.reject(new Error('given up')),
    },
  );
  const announced = { hash: sha256(recipe), sizeBytes: recipe.length };
  fetches.add(signAs(createKeyPair(), 'recipe', encodeRecipeAnnouncement({ recipe: announced, timeMs: 1 })));
  assert.deepEqual([await taken.promise, tries], [recipe, 4]);
});

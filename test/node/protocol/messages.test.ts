// Every message codec: what goes in comes out. (Hostile bytes: test/attacks/fuzzed-bytes.test.ts.)

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MESSAGE_CODECS } from '../../support/codecs.ts';

for (const { name, arbitrary, encode, decode } of MESSAGE_CODECS) {
  test(`a ${name} comes back as it was`, () => {
    fc.assert(
      fc.property(arbitrary, (value) => assert.deepEqual(decode(encode(value)), value)),
      { numRuns: 60 },
    );
  });
}

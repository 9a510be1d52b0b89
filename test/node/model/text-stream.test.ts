// Text in pieces: joined, they are what decode gives at once, and no piece ends within a character.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { createTextStream } from '../../../node/model/text-stream.ts';
import { loadTokenizer } from '../../../node/model/tokenizer.ts';
import { vectorsDir } from '../../support/vectors-dir.ts';

const piecesOf = (ids: readonly number[], decode: (ids: readonly number[]) => string): string[] => {
  const stream = createTextStream(decode);
  return [...ids.map((id) => stream.push(id)), stream.end()];
};

for (const name of readdirSync(join(vectorsDir(), 'tokenizers')).sort()) {
  test(`${name}: pieces join to the whole text`, async () => {
    const tokenizer = await loadTokenizer(join(vectorsDir(), 'tokenizers', name));
    const text = fc
      .array(fc.constantFrom('a', ' ', ' the', '\n', '12', 'é', '日', '🦆', '👩‍👩‍👧', '<', '\t'))
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (said) => {
        const ids = tokenizer.encode(said, { addSpecialTokens: false });
        const pieces = piecesOf(ids, tokenizer.decode);
        assert.equal(pieces.join(''), tokenizer.decode(ids));
        for (const piece of pieces) assert.ok(!piece.includes('\ufffd'), JSON.stringify(pieces));
      }),
      { numRuns: 300 },
    );
  });
}

test('bytes that never become a character are shown at the end, once', () => {
  const bytes = (ids: readonly number[]): string => Buffer.from(ids).toString('utf8');
  assert.deepEqual(piecesOf([0x61, 0xc3, 0xa9, 0xe2, 0x82], bytes), ['a', '', 'é', '', '', '\ufffd']);
  assert.deepEqual(piecesOf([], bytes), ['']);
});

test('a token is decoded beside its neighbours only', () => {
  let most = 0;
  const ids = Array.from({ length: 1000 }, (_, i) => 97 + (i % 26));
  const decode = (some: readonly number[]): string => {
    most = Math.max(most, some.length);
    return Buffer.from(some).toString('utf8');
  };
  assert.equal(piecesOf(ids, decode).join(''), Buffer.from(ids).toString('utf8'));
  assert.ok(most <= 4, `${most} tokens at once`);
});

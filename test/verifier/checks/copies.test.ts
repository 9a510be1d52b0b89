// Equal completions of two peers, and whether two bodies say the same.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GroupBody } from '../../../node/protocol/body.ts';
import { createCopyRegister, MIN_COPY_TOKENS, sameTokens } from '../../../verifier/checks/copies.ts';

function bodyOf(...completions: readonly (readonly number[])[]): GroupBody {
  return {
    prompt: Uint32Array.of(9),
    sequences: completions.map((tokens) => ({
      tokens: Uint32Array.from(tokens),
      logprobs: new Float32Array(tokens.length),
      finish: 'eos',
      proofs: new Uint8Array(0),
    })),
  };
}

const long = Array.from({ length: MIN_COPY_TOKENS }, (_, i) => i + 3);

test('a completion seen from another peer names the other group', () => {
  const register = createCopyRegister();
  assert.deepEqual(register.seen('g1', 'a', 0, bodyOf([5, 1], long)), []);
  assert.deepEqual(register.seen('g2', 'a', 0, bodyOf(long)), [], 'a peer may repeat itself');
  assert.deepEqual(register.seen('g3', 'b', 0, bodyOf(long, long)), ['g1']);
  assert.deepEqual(register.seen('g4', 'b', 0, bodyOf([5, 1])), [], 'short answers are equal by chance');
  register.forgetBefore(1);
  assert.deepEqual(register.seen('g5', 'c', 1, bodyOf(long)), []);
});

test('bodies are alike when their tokens are', () => {
  assert.equal(sameTokens(bodyOf(long), bodyOf(long)), true);
  assert.equal(sameTokens(bodyOf(long), bodyOf(long.slice(1))), false);
  assert.equal(sameTokens(bodyOf(long), bodyOf(long, long)), false);
  assert.equal(sameTokens(bodyOf(long), bodyOf(long.with(2, 99))), false);
  assert.equal(sameTokens(bodyOf(long), { ...bodyOf(long), prompt: Uint32Array.of(8) }), false);
});

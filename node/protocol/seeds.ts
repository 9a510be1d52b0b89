// Where every random number of a rollout comes from: SHA-256 of what nobody chooses, then a ChaCha20 key stream.
// Source: spec/rollouts.md "Randomness"; RFC 8439 §2.4 (counter from 0, nonce 0). All integers are big-endian.
// Invariant: everything here is a pure function of its arguments.

import { createCipheriv } from 'node:crypto';
import { sha256, u32be } from './bytes.ts';
import { SwarmError } from './errors.ts';

const GROUP_DOMAIN = 'murmuration/group/1';
const SEED_BYTES = 32;
const WORD_BYTES = 8;
/** Key stream is made this many bytes at a time: 32 uniforms, half of a usual completion. */
const STREAM_CHUNK_BYTES = 256;
/** OpenSSL's IV for chacha20 is the 32-bit block counter followed by the 96-bit nonce: both zero. */
const ZERO_IV: Uint8Array = new Uint8Array(16);

/** What makes a group's seed: 32-byte hashes, the peer id's multihash bytes, and the slot (u32). */
export interface GroupSeedParts {
  readonly recipeId: Uint8Array;
  readonly policyRoot: Uint8Array;
  readonly peerId: Uint8Array;
  readonly slot: number;
}

/** An endless stream of uniforms in [0, 1). */
export interface UniformStream {
  next(): number;
}

function bytes32(value: Uint8Array, label: string): Uint8Array {
  if (value.length !== SEED_BYTES) {
    throw new SwarmError('MALFORMED', `${label} must be ${SEED_BYTES} bytes, got ${value.length}`, { label });
  }
  return value;
}

function firstWord(bytes: Uint8Array): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0);
}

/**
 * H("murmuration/group/1" ‖ recipeId ‖ policyRoot ‖ peerId ‖ slot u32).
 * @returns 32 bytes
 * @throws {SwarmError} MALFORMED when a hash is not 32 bytes or the slot is no u32
 */
export function groupSeed(parts: GroupSeedParts): Uint8Array {
  return sha256(
    GROUP_DOMAIN,
    bytes32(parts.recipeId, 'recipeId'),
    bytes32(parts.policyRoot, 'policyRoot'),
    parts.peerId,
    u32be(parts.slot, 'slot'),
  );
}

/** H(groupSeed ‖ "task"): 32 bytes, the seed a generated task draws its uniforms under. */
export function taskSeed(seed: Uint8Array): Uint8Array {
  return sha256(bytes32(seed, 'groupSeed'), 'task');
}

/** First 8 bytes of `taskSeed` as u64: modulo N it picks from a task set of N. */
export function taskWord(seed: Uint8Array): bigint {
  return firstWord(taskSeed(seed));
}

/** First 8 bytes of H(groupSeed ‖ "family") as u64: modulo the total weight it picks a task family. */
export function familyWord(seed: Uint8Array): bigint {
  return firstWord(sha256(bytes32(seed, 'groupSeed'), 'family'));
}

/** H(groupSeed ‖ "sequence" ‖ i u32): 32 bytes. */
export function sequenceSeed(seed: Uint8Array, i: number): Uint8Array {
  return sha256(bytes32(seed, 'groupSeed'), 'sequence', u32be(i, 'sequence index'));
}

/**
 * The first n uniforms under a seed: the t-th is the top 53 bits of the key stream's t-th 8-byte word, / 2^53.
 * @param seed 32 bytes
 * @returns f64[n] in [0, 1)
 */
export function uniforms(seed: Uint8Array, n: number): Float64Array {
  const cipher = createCipheriv('chacha20', bytes32(seed, 'seed'), ZERO_IV);
  return toUniforms(cipher.update(new Uint8Array(n * WORD_BYTES)));
}

/** The same numbers as `uniforms`, one at a time and without an end. */
export function uniformStream(seed: Uint8Array): UniformStream {
  const cipher = createCipheriv('chacha20', bytes32(seed, 'seed'), ZERO_IV);
  const zeros = new Uint8Array(STREAM_CHUNK_BYTES);
  let ready = new Float64Array(0);
  let used = 0;
  return {
    next(): number {
      if (used === ready.length) {
        ready = toUniforms(cipher.update(zeros));
        used = 0;
      }
      return ready[used++]!;
    },
  };
}

function toUniforms(stream: Uint8Array): Float64Array<ArrayBuffer> {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  const out = new Float64Array(stream.byteLength / WORD_BYTES);
  for (let t = 0; t < out.length; t++) {
    // Top 53 bits: all of the high word, 21 bits of the low one.
    const high = view.getUint32(t * WORD_BYTES);
    const low = view.getUint32(t * WORD_BYTES + 4) >>> 11;
    out[t] = (high * 2 ** 21 + low) / 2 ** 53;
  }
  return out;
}

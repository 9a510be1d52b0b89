// Arithmetic in GF(65497), the field of TOPLOC's polynomials.
// Source: spec/toploc.md "Format"; arXiv 2501.16007. 65497 = 2^16 − 39, so a product folds to 17 bits with two small multiplications.
// Invariant: every argument and result is an integer in [0, 65497).

/** 2^16 − 39, a prime: the reference library's field, and with that the largest injective modulus (spec/toploc.md). */
export const PRIME = 65497;

/** 2^16 mod PRIME. */
const FOLD = 39;

/**
 * a · b mod PRIME.
 * hi·2^16 + lo ≡ 39·hi + lo; after the first fold < 2^22, after the second < 2^16 + 39², so one subtraction ends it.
 */
export function mulMod(a: number, b: number): number {
  const product = Math.imul(a, b);
  const once = Math.imul(product >>> 16, FOLD) + (product & 0xffff);
  const twice = Math.imul(once >>> 16, FOLD) + (once & 0xffff);
  return twice >= PRIME ? twice - PRIME : twice;
}

/**
 * (a · b + c) mod PRIME, with one branch that is rarely taken: a sum that overflows every other time is guessed wrong
 * by the processor every other time (measured: Horner's rule in a third of the time).
 * After the first fold and the sum < 2^22, after the second < 2^16 + 41·39.
 */
export function mulAddMod(a: number, b: number, c: number): number {
  const product = Math.imul(a, b);
  const once = Math.imul(product >>> 16, FOLD) + (product & 0xffff) + c;
  const twice = Math.imul(once >>> 16, FOLD) + (once & 0xffff);
  return twice >= PRIME ? twice - PRIME : twice;
}

/** a − b mod PRIME, without a branch that the processor would guess wrong every other time. */
export function subMod(a: number, b: number): number {
  const difference = a - b;
  return difference + ((difference >> 31) & PRIME);
}

/** inverse(i) = −⌊p/i⌋ · inverse(p mod i): one pass, no exponentiation. Entry 0 is 0 and never used. */
function inverseTable(): Uint16Array {
  const table = new Uint16Array(PRIME);
  table[1] = 1;
  for (let i = 2; i < PRIME; i++) table[i] = PRIME - mulMod(Math.trunc(PRIME / i), table[PRIME % i]!);
  return table;
}

/** u16[65497]: the inverse of each element but 0. */
export const INVERSES: Uint16Array = inverseTable();

// TOPLOC proofs of 32 states each: building one, and checking it against recomputed states (spec/toploc.md, "Cost").

import { toBf16Bits } from '../../node/model/bf16.ts';
import { compareChunk } from '../../verifier/toploc/compare.ts';
import { CHUNK_TOKENS, proveChunk } from '../../verifier/toploc/proof.ts';
import { createTopValuesScratch } from '../../verifier/toploc/top-values.ts';
import { randomNumbers } from '../support/random-model.ts';
import { type Benchmark, median, type Row, rounds, row } from './harness.ts';

const CHUNKS = 32;
const ROUNDS = 15;
const WARM_UPS = 3;

/** What the spec says of the reference library on a machine of the same kind, and the bound of the library's own test. */
const REFERENCE_BUILD_MS = 0.65;
const REFERENCE_CHECK_MS = 0.11;
const REFERENCE_TEST_MS = 100;

function states(hiddenSize: number): Uint16Array[] {
  const random = randomNumbers(7);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Array.from({ length: CHUNKS }, () =>
    toBf16Bits(Float32Array.from({ length: CHUNK_TOKENS * hiddenSize }, normal)),
  );
}

interface Times {
  /** milliseconds for all chunks */
  readonly build: number;
  readonly check: number;
}

async function timesOf(hiddenSize: number): Promise<Times> {
  const chunks = states(hiddenSize);
  const scratch = createTopValuesScratch();
  const proofs = chunks.map((chunk) => proveChunk(chunk, scratch));
  const times = await rounds(
    {
      build: () => {
        for (const chunk of chunks) proveChunk(chunk, scratch);
      },
      check: () => {
        for (const [k, chunk] of chunks.entries()) compareChunk(chunk, proofs[k]!, scratch);
      },
    },
    ROUNDS,
    WARM_UPS,
  );
  return { build: median(times.build), check: median(times.check) };
}

async function run(): Promise<readonly Row[]> {
  const small = await timesOf(576);
  const large = await timesOf(5120);
  const figure = (name: string, value: number, atMost: number): Row =>
    row({ name: `TOPLOC: ${name}`, value, unit: 'ms', target: { of: 'value', atMost } });
  return [
    figure('build a proof, hidden 576', small.build / CHUNKS, REFERENCE_BUILD_MS),
    figure('check a proof, hidden 576', small.check / CHUNKS, REFERENCE_CHECK_MS),
    figure(`check ${CHUNKS} proofs, hidden 5120`, large.check, REFERENCE_TEST_MS),
  ];
}

export const toploc: Benchmark = { name: 'toploc', run };

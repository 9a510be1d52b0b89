// Every decoder of strangers' bytes under a million hostile inputs (`--inputs N`), one row a decoder. Ends with the input that
// broke one. The rows are kept figures of one run: refusals, the most that one call allocated, the slowest call.

import { type FuzzReport, fuzz } from '../support/fuzz/run.ts';
import { fuzzTargets } from '../support/fuzz/targets.ts';
import { type BenchContext, type Benchmark, type Row, row } from './harness.ts';

const INPUTS = 1_000_000;
const SEED = 20_261_101;
const MEBI = 2 ** 20;

function told(report: FuzzReport): string {
  const { name, inputs, accepted, refused, outcomes, largestInputBytes } = report;
  const codes = Object.entries(refused).map(([code, count]) => `${code} ${count}`);
  return `  ${name}: ${inputs} inputs up to ${largestInputBytes} bytes, ${accepted} accepted, ${codes.join(', ')}; ${outcomes} outcomes`;
}

async function run({ inputs, note }: BenchContext): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const target of fuzzTargets()) {
    const report = await fuzz(target, inputs ?? INPUTS, SEED);
    note(told(report));
    rows.push(
      row({ name: `fuzz ${report.name}: most allocated by a call`, value: report.growthBytes / MEBI, unit: 'MiB' }),
      row({ name: `fuzz ${report.name}: slowest call`, value: report.slowestMs, unit: 'ms' }),
    );
  }
  return rows;
}

export const fuzzing: Benchmark = { name: 'fuzz', isLong: true, run };

// Every decoder of strangers' bytes under a million hostile inputs (`--inputs N`), several at once (`--threads N`), two rows a
// decoder. What broke one is told at once, and the run fails at its end. The rows are kept figures of one run: the most that one call allocated, the slowest.

import { Worker } from 'node:worker_threads';
import type { FuzzReport } from '../support/fuzz/run.ts';
import { fuzzTargets } from '../support/fuzz/targets.ts';
import { type BenchContext, type Benchmark, type Row, row } from './harness.ts';

const INPUTS = 1_000_000;
const SEED = 20_261_101;
const MEBI = 2 ** 20;

function told(report: FuzzReport, seconds: number): string {
  const { name, inputs, accepted, refused, outcomes, largestInputBytes } = report;
  const codes = Object.entries(refused).map(([code, count]) => `${code} ${count}`);
  return `  ${name}: ${inputs} inputs up to ${largestInputBytes} bytes in ${seconds.toFixed(0)} s, ${accepted} accepted, ${codes.join(', ')}; ${outcomes} outcomes`;
}

/** @throws {Error} naming the input that broke the decoder */
function fuzzInThread(name: string, inputs: number): Promise<FuzzReport> {
  const { promise, resolve, reject } = Promise.withResolvers<FuzzReport>();
  const worker = new Worker(new URL('./fuzz-thread.ts', import.meta.url), { workerData: { name, inputs, seed: SEED } });
  worker.once('message', resolve);
  worker.once('error', reject);
  worker.once('exit', (code) => reject(new Error(`the thread that fuzzed ${name} ended by itself (code ${code})`)));
  return promise.finally(() => worker.terminate());
}

async function run({ inputs, threads, note }: BenchContext): Promise<readonly Row[]> {
  const names = fuzzTargets().map(({ name }) => name);
  // Decoders of larger things take longer: first, so that no thread is left alone with one of them.
  const waiting = fuzzTargets()
    .toSorted((a, b) => a.maxBytes - b.maxBytes)
    .map(({ name }) => name);
  const reports = new Map<string, FuzzReport>();
  const broken: Error[] = [];
  const takeTurns = async (): Promise<void> => {
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      const startMs = performance.now();
      try {
        const report = await fuzzInThread(name, inputs ?? INPUTS);
        reports.set(name, report);
        note(told(report, (performance.now() - startMs) / 1000));
      } catch (error) {
        broken.push(error as Error);
        note(`  ${name}: broke\n${String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: threads }, takeTurns));
  if (broken.length > 0) throw new AggregateError(broken, `${broken.length} decoders broke`);
  return names.flatMap((name) => {
    const { growthBytes, slowestMs } = reports.get(name)!;
    return [
      row({ name: `fuzz ${name}: most allocated by a call`, value: growthBytes / MEBI, unit: 'MiB' }),
      row({ name: `fuzz ${name}: slowest call`, value: slowestMs, unit: 'ms' }),
    ];
  });
}

export const fuzzing: Benchmark = { name: 'fuzz', isLong: true, run };

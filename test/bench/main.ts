// `npm run bench`: prints each figure with its peer's from the same run, as a ratio, and writes the same rows as JSON; what rows do
// not hold, such as curves, into files named after it.

import { writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { calibrationLarge } from './calibration-large.ts';
import { demo } from './demo.ts';
import { floods } from './floods.ts';
import { fuzzing } from './fuzz.ts';
import type { Benchmark, Row } from './harness.ts';
import { liarsSwarm } from './liars-swarm.ts';
import { load } from './load.ts';
import { halfBillion, memory } from './memory.ts';
import { nodeAtRest } from './node-at-rest.ts';
import { replay } from './replay.ts';
import { rollouts, vocabulary } from './rollouts.ts';
import { soak } from './soak.ts';
import { step } from './step.ts';
import { toploc } from './toploc.ts';
import { training, trainingLarge } from './training.ts';
import { transformers } from './transformers.ts';
import { validator } from './validator.ts';

const BENCHMARKS: readonly Benchmark[] = [
  training,
  trainingLarge,
  memory,
  step,
  halfBillion,
  rollouts,
  vocabulary,
  transformers,
  replay,
  toploc,
  load,
  nodeAtRest,
  validator,
  floods,
  demo,
  fuzzing,
  soak,
  calibrationLarge,
  liarsSwarm,
];

function help(): string {
  const names = (isLong: boolean): string =>
    BENCHMARKS.filter((benchmark) => (benchmark.isLong ?? false) === isLong)
      .map(({ name }) => name)
      .join(', ')
      .replace(/(?=.{79})(.{1,76},) /g, '$1\n  ');
  return `Usage: npm run bench -- [options]

print each figure beside its peer's, or the machine's own limit, in one run

Options:
  --only NAME       this benchmark alone (default: all that are not long)
  --threads N       threads of ONNX Runtime (default: all processors)
  --json-file FILE  write the rows as JSON too; curves into files named after it
  --inputs N        fuzz: inputs a decoder; calibration-large: groups
  --minutes N       soak, liars-swarm: how long to watch
  -h, --help        display this help

Benchmarks:
  ${names(false)}

Long, with --only:
  ${names(true)}

Examples:
  npm run bench
  npm run bench -- --only rollouts --threads 1
  npm run bench -- --only fuzz --inputs 10000`;
}

/** Runnable threads from which on speeds are not this program's alone. */
const BUSY_LOAD = 1;

interface Arguments {
  readonly 'json-file'?: string;
  readonly only?: string;
  readonly threads?: string;
  readonly inputs?: string;
  readonly minutes?: string;
  readonly help?: boolean;
}

function refuse(message: string): never {
  console.error(message);
  process.exit(2);
}

function readArguments(): Arguments {
  try {
    const string = { type: 'string' } as const;
    return parseArgs({
      options: {
        ...{ 'json-file': string, only: string, threads: string, inputs: string, minutes: string },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    return refuse(`${error instanceof Error ? error.message : String(error)}\n(see npm run bench -- --help)`);
  }
}

function digits(value: number | null): string {
  if (value === null) return '';
  return value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}

function table(rows: readonly Row[]): string {
  const head = ['', 'value', 'unit', 'peer', 'peer value', 'ratio', 'target', 'met'];
  const cells = rows.map((row) => [
    row.name,
    digits(row.value),
    row.unit,
    row.peer ?? '',
    digits(row.peerValue),
    row.ratio === null ? '' : row.ratio.toFixed(2),
    row.target ?? '',
    row.met === null ? '' : row.met ? 'yes' : 'NO',
  ]);
  const isNumber = new Set([1, 4, 5]);
  const widths = head.map((title, k) => Math.max(title.length, ...cells.map((line) => line[k]!.length)));
  const line = (texts: readonly string[]): string =>
    texts.map((text, k) => (isNumber.has(k) ? text.padStart(widths[k]!) : text.padEnd(widths[k]!))).join('  ');
  return [head, ...cells].map((texts) => line(texts).trimEnd()).join('\n');
}

async function main(): Promise<void> {
  const { only, threads, inputs, minutes, 'json-file': jsonFile, help: isAsked } = readArguments();
  if (isAsked === true) {
    console.log(help());
    return;
  }
  const chosen = BENCHMARKS.filter(({ name, isLong }) => (only === undefined ? !isLong : name === only));
  if (chosen.length === 0) refuse(`--only takes one of: ${BENCHMARKS.map(({ name }) => name).join(', ')}`);
  const details = new Map<string, unknown>();
  const context = {
    threads: threads === undefined ? availableParallelism() : Number(threads),
    inputs: inputs === undefined ? null : Number(inputs),
    minutes: minutes === undefined ? null : Number(minutes),
    note: (text: string) => console.error(text),
    keep: (name: string, value: unknown) => void details.set(name, value),
  };
  if (context.inputs !== null && !(context.inputs >= 1)) refuse('--inputs takes a whole number of 1 or more');
  if (context.minutes !== null && !(context.minutes > 0)) refuse('--minutes takes a number above 0');
  if (!Number.isInteger(context.threads) || context.threads < 1) refuse('--threads takes a whole number of 1 or more');
  const load = loadavg()[0]!;
  if (load > BUSY_LOAD)
    context.note(`The machine is busy (load ${load.toFixed(1)}): trust the ratios, not the speeds.`);
  const rows: Row[] = [];
  for (const benchmark of chosen) {
    console.error(`${benchmark.name} …`);
    rows.push(...(await benchmark.run(context)));
  }
  console.log(table(rows));
  if (jsonFile === undefined) return;
  writeFileSync(jsonFile, `${JSON.stringify(rows, null, 2)}\n`);
  for (const [name, value] of details) writeFileSync(`${jsonFile}.${name}`, `${JSON.stringify(value, null, 1)}\n`);
}

await main();

// A swarm left alone: trainer with its own verifier, a verifier, two nodes, as processes over loopback. Whether memory stays flat
// once everything is warm, the ledger adds up, and how long the network threads computed at a stretch. Only on request.

import { setTimeout as sleep } from 'node:timers/promises';
import type { GroupCounts } from '../../node/cli/events.ts';
import { type MurmurLab, type MurmurProcess, murmurLab } from '../support/murmur-process.ts';
import { withEndings } from '../support/temp-dir.ts';
import { type BenchContext, type Benchmark, median, type Row, row } from './harness.ts';
import { canReadProcesses, residentBytes } from './processes.ts';

const DEFAULT_MINUTES = 30;
const SAMPLE_MS = 10_000;
const TELL_EVERY = 30;
/** Median of the last third over that of the second third. */
const MAX_GROWTH = 1.05;
/** What the network thread may compute at a stretch (issue "The swarm learns"). */
const MAX_BLOCKED_MS = 20;

interface Status {
  readonly blockedMs: { readonly p99: number; readonly max: number };
  readonly training?: { readonly trainStep: number; readonly groups: GroupCounts };
}

async function run({ note, minutes }: BenchContext): Promise<readonly Row[]> {
  if (!canReadProcesses) {
    note('  left out: reading other processes needs /proc');
    return [];
  }
  return withEndings(async (t) => {
    const lab = await murmurLab(t);
    const members = await startSwarm(lab);
    const memory = await watch(members, (minutes ?? DEFAULT_MINUTES) * 60_000, note);
    return (await Promise.all(members.map((member, i) => rowsOf(lab, member, memory[i]!)))).flat();
  });
}

async function startSwarm(lab: MurmurLab): Promise<readonly MurmurProcess[]> {
  const shared = ['--loopback', '--network', `soak-${process.pid}`];
  const trainer = lab.start('trainer', ['train', '--recipe', 'arrows', '--port', '0', ...shared]);
  const { addresses } = await trainer.event('listening');
  const join = ['--join', addresses[0]!, ...shared];
  const others = [['verifier', 'verify'] as const, ['node 1', 'node'] as const, ['node 2', 'node'] as const];
  return [trainer, ...others.map(([name, role]) => lab.start(name, [role, ...join]))];
}

/** @returns resident bytes, one array a member, one entry a sample */
async function watch(members: readonly MurmurProcess[], ms: number, note: BenchContext['note']): Promise<number[][]> {
  const samples: number[][] = members.map(() => []);
  const ended = Promise.race(members.map(async ({ name, exited }) => ({ name, exit: await exited })));
  for (const end = performance.now() + ms; performance.now() < end; ) {
    const early = await Promise.race([ended, sleep(SAMPLE_MS)]);
    if (early) throw new Error(`${early.name} ended by itself: ${JSON.stringify(early.exit)}`);
    for (const [i, { pid }] of members.entries()) samples[i]!.push(residentBytes(pid));
    if (samples[0]!.length % TELL_EVERY === 0)
      note(`  ${members.map(({ name }, i) => `${name} ${Math.round(samples[i]!.at(-1)! / 1e6)} MB`).join(', ')}`);
  }
  return samples;
}

async function rowsOf(lab: MurmurLab, { name }: MurmurProcess, memory: readonly number[]): Promise<readonly Row[]> {
  const status = (await lab.ask(['status', '--data-dir', lab.dataDir(name)])) as Status;
  const third = Math.max(1, Math.floor(memory.length / 3));
  const [warm, last] = [median(memory.slice(-2 * third, -third)), median(memory.slice(-third))];
  return [
    row({
      name: `soak, ${name}: memory, last third`,
      value: last / 1e6,
      unit: 'MB',
      peer: 'second third',
      peerValue: warm / 1e6,
      target: { of: 'ratio', atMost: MAX_GROWTH },
    }),
    row({ name: `soak, ${name}: network thread busy, p99`, value: status.blockedMs.p99, unit: 'ms' }),
    row({
      name: `soak, ${name}: network thread busy, longest`,
      value: status.blockedMs.max,
      unit: 'ms',
      target: { of: 'value', atMost: MAX_BLOCKED_MS },
    }),
    ...(status.training === undefined ? [] : ledgerRows(status.training)),
  ];
}

function ledgerRows({ trainStep, groups }: NonNullable<Status['training']>): readonly Row[] {
  const { announced, trained, rejected, stale, dropped, pending } = groups;
  return [
    row({ name: 'soak: steps', value: trainStep, unit: 'steps' }),
    row({
      name: `soak: ${announced} groups = ${trained} trained + ${rejected} rejected + ${stale} stale + ${dropped} dropped + ${pending} pending; off by`,
      value: Math.abs(announced - trained - rejected - stale - dropped - pending),
      unit: 'groups',
      target: { of: 'value', atMost: 0 },
    }),
    row({
      name: 'soak: honest groups rejected',
      value: rejected,
      unit: 'groups',
      target: { of: 'value', atMost: 0 },
    }),
  ];
}

export const soak: Benchmark = { name: 'soak', isLong: true, run };

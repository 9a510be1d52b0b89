// A node that generates, left in peace and under 1 000 hostile messages a second, in turns: what it keeps of its rate, and its
// memory. Processes on 127.0.0.1: a trainer that waits, the node, and one that floods it, bounded in count and time. All of
// them share this machine: the messages are made before, what sending them takes still counts against the node.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { askControl } from '../../node/cli/control.ts';
import { type MurmurLab, type MurmurProcess, murmurLab } from '../support/murmur-process.ts';
import { withEndings } from '../support/temp-dir.ts';
import { type Announcer, startAnnouncer } from './announcer.ts';
import { type BenchContext, type Benchmark, median, type Row, row } from './harness.ts';
import { canReadProcesses, cpuMilliseconds, residentBytes } from './processes.ts';

const PER_SECOND = 1_000;
const ROUNDS = 3;
const PHASE_MS = 6_000;
const SETTLE_MS = 3_000;
const KEYS = 200;
const CARRIERS = 4;
const RATE_KEPT = 0.9;
const MEMORY_MB = 500;
const GROUP_SIZE = 16;

/** Wants more groups than can be made, and never a step: the trainer waits, the node generates. */
const RECIPE = `version: 1
name: flooded-arrows
tasks: [{ task: arrows@1, settings: { letters: 6, minHops: 3, maxHops: 5 } }]
rewards: [{ reward: exact@1 }]
groupSize: ${GROUP_SIZE}
sampling: { temperature: 1, maxNewTokens: 16, endTokens: [1] }
grpo: { promptsPerStep: 65536 }
staleness: { maxStepWaitMs: 3600000, maxSlotsPerStep: 100000 }
verification: { verifiers: ["${'ab'.repeat(32)}"] }
`;

interface Scene {
  readonly node: MurmurProcess;
  readonly dataDir: string;
  readonly announcer: Announcer;
}

async function setUp(lab: MurmurLab): Promise<Scene> {
  const recipeFile = join(lab.dir, 'recipe.yaml');
  await writeFile(recipeFile, RECIPE);
  const networkName = `flood-${process.pid}`;
  const flags = ['--network', networkName, '--loopback', '--threads', '1'];
  const trainer = lab.start('trainer', ['train', ...flags, '--recipe', recipeFile, '--no-verify', '--eval-every', '0']);
  const { addresses } = await trainer.event('listening');
  const node = lab.start('node', ['node', ...flags, '--join', addresses[0]!]);
  const listening = await node.event('listening');
  const { recipeId, policyRoot, policyStep } = await node.event('policy');
  await node.event('rollouts');
  const announcer = await startAnnouncer({
    ...{ address: listening.addresses[0]!, networkName, recipeIdHex: recipeId, policyRootHex: policyRoot, policyStep },
    ...{ groupSize: GROUP_SIZE, keys: KEYS, carriers: CARRIERS, mixture: 'hostile' },
    madeAhead: (1.1 * PER_SECOND * ROUNDS * PHASE_MS) / 1000,
  });
  return { node, dataDir: lab.dataDir('node'), announcer };
}

/** Completion tokens that the node has made so far. */
async function tokensOf({ dataDir }: Scene): Promise<number> {
  const { rollouts } = (await askControl(dataDir, 'status')) as { rollouts: { tokens: number } };
  return rollouts.tokens;
}

/** What a phase came to. */
interface Phase {
  readonly tokensPerSecond: number;
  readonly tokens: number;
  /** of the node, all threads */
  readonly cpuMs: number;
  readonly messages: number;
}

/** One phase with so many hostile messages a second; `memory` gets the node's as it goes. */
async function phase(scene: Scene, perSecond: number, memory: number[]): Promise<Phase> {
  const { node, announcer } = scene;
  const [tokens, cpuMs, start] = [await tokensOf(scene), cpuMilliseconds(node.pid), performance.now()];
  await announcer.send(perSecond);
  while (performance.now() - start < PHASE_MS) {
    memory.push(residentBytes(node.pid));
    await sleep(500);
  }
  const { sent } = await announcer.send(0);
  const made = (await tokensOf(scene)) - tokens;
  const seconds = (performance.now() - start) / 1000;
  return { tokensPerSecond: made / seconds, tokens: made, cpuMs: cpuMilliseconds(node.pid) - cpuMs, messages: sent };
}

/** The node's CPU time for one hostile message: what a flooded phase took more than its tokens did in peace. */
function messageMs(quiet: Phase, flooded: Phase): number {
  return (flooded.cpuMs - (quiet.cpuMs * flooded.tokens) / quiet.tokens) / flooded.messages;
}

async function measure(scene: Scene, note: BenchContext['note']): Promise<readonly Row[]> {
  const memory: number[] = [];
  const rounds: { readonly quiet: Phase; readonly flooded: Phase }[] = [];
  await sleep(SETTLE_MS);
  for (let k = 0; k < ROUNDS; k++) {
    const quiet = await phase(scene, 0, memory);
    const flooded = await phase(scene, PER_SECOND, memory);
    rounds.push({ quiet, flooded });
    const rates = [quiet, flooded].map(({ tokensPerSecond }) => Math.round(tokensPerSecond)).join(' and ');
    note(`  round ${k + 1}: ${rates} tokens/s, ${flooded.messages} hostile messages in ${PHASE_MS / 1000} s`);
  }
  // What the machine does otherwise drifts: each flood is held against the quiet before it.
  const of = (value: (round: (typeof rounds)[number]) => number): number => median(rounds.map(value));
  return [
    row({
      name: `generation under ${PER_SECOND} hostile messages a second`,
      value: of(({ flooded }) => flooded.tokensPerSecond),
      unit: 'tokens/s',
      peer: 'the same node, quiet',
      peerValue: of(({ quiet }) => quiet.tokensPerSecond),
      ratio: of(({ quiet, flooded }) => flooded.tokensPerSecond / quiet.tokensPerSecond),
      target: { of: 'ratio', atLeast: RATE_KEPT },
    }),
    row({
      name: "node's CPU time for a hostile message",
      value: of(({ quiet, flooded }) => messageMs(quiet, flooded)),
      unit: 'ms',
    }),
    row({
      name: 'generating node, memory at its peak, flooded or not',
      value: Math.max(...memory) / 1e6,
      unit: 'MB',
      target: { of: 'value', atMost: MEMORY_MB },
    }),
  ];
}

async function run({ note }: BenchContext): Promise<readonly Row[]> {
  if (!canReadProcesses) {
    note('  left out: reading other processes needs /proc');
    return [];
  }
  return withEndings(async (t) => {
    const scene = await setUp(await murmurLab(t));
    t.after(() => scene.announcer.close());
    return measure(scene, note);
  });
}

export const floods: Benchmark = { name: 'floods', run };

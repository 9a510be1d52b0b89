// A swarm of 8 nodes, three of them liars of three kinds, against the same swarm without the liars: does it learn as well, and is no
// honest peer punished? Trainer, verifier, nodes and liars are processes over loopback; both swarms run equally long, one after the
// other, with the same recipe, model and held-out tasks. Nodes have keys of their own, so rollouts differ. Only on request.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeDemoRecipe } from '../../node/cli/demo/recipe.ts';
import type { GroupCounts, RoleEvent } from '../../node/cli/events.ts';
import { type LiarName, startLiars } from '../support/liars.ts';
import { type MurmurLab, type MurmurProcess, murmurLab } from '../support/murmur-process.ts';
import { type Ending, withEndings } from '../support/temp-dir.ts';
import { type BenchContext, type Benchmark, type Row, row } from './harness.ts';

const DEFAULT_MINUTES = 10;
const HONEST_NODES = 5;
/** Weights that differ from the policy's by this share of each tensor's standard deviation, claims told as they come out. */
const ALTERED_WEIGHTS = '0.05';
const OTHER_LIES: readonly LiarName[] = ['inflate', 'copy'];
const EVAL_EVERY = 5;
const EVAL_TASKS = 512;
const SEED = 7;
/** Evaluations that accuracy is the mean of: one of 512 tasks is off by 1 point or so. */
const LAST_EVALUATIONS = 3;
const MAX_POINTS_APART = 2;
const STOP_MS = 60_000;
const TELL_MS = 30_000;

type EventOf<E extends RoleEvent['event']> = Extract<RoleEvent, { event: E }>;

/** What became of one peer, by the verifier. */
interface PeerOutcome {
  readonly kind: string;
  readonly acceptedGroups: number;
  readonly rejectedGroups: number;
  readonly codes: Readonly<Record<string, number>>;
  /** groups of it judged when it was first quarantined; null: never was */
  readonly judgedUntilQuarantine: number | null;
  readonly quarantines: number;
}

interface SwarmOutcome {
  readonly evaluations: readonly { readonly policyStep: number; readonly accuracy: number }[];
  readonly steps: readonly { readonly policyStep: number; readonly rewardMean: number }[];
  readonly peers: readonly PeerOutcome[];
  readonly counts: GroupCounts;
}

interface Swarm {
  readonly trainer: MurmurProcess;
  readonly verifier: MurmurProcess;
  readonly all: readonly MurmurProcess[];
  /** kinds by peer id */
  readonly kinds: ReadonlyMap<string, string>;
}

async function startSwarm(t: Ending, lab: MurmurLab, hasLiars: boolean): Promise<Swarm> {
  const recipeFile = join(lab.dir, 'recipe.json');
  const { folder } = await writeDemoRecipe({
    ...{ recipe: 'arrows', file: recipeFile, model: undefined },
    ...{ trainerDir: lab.dataDir('trainer'), verifierDir: lab.dataDir('verifier') },
  });
  const network = `liars-swarm-${process.pid}`;
  const shared = ['--network', network, '--loopback', '--threads', '1'];
  const trainer = lab.start('trainer', [
    ...['train', ...shared, '--recipe', recipeFile, '--model', folder, '--no-verify', '--seed', String(SEED)],
    ...['--eval-every', String(EVAL_EVERY), '--eval-tasks', String(EVAL_TASKS)],
  ]);
  const address = (await trainer.event('listening')).addresses[0]!;
  const joined = [...shared, '--join', address];
  const verifier = lab.start('verifier', ['verify', ...joined]);
  const honest = Array.from({ length: HONEST_NODES }, (_, i) => lab.start(`honest ${i + 1}`, ['node', ...joined]));
  const altered = hasLiars ? [lab.start('altered', ['node', ...joined, '--alter-weights', ALTERED_WEIGHTS])] : [];
  const kinds = new Map<string, string>();
  for (const node of [...honest, ...altered]) {
    const { peerId } = await node.event('listening');
    kinds.set(peerId, altered.includes(node) ? 'altered' : 'honest');
  }
  for (const lie of hasLiars ? OTHER_LIES : []) {
    const liar = await startLiars(t, { dir: lab.dir, address, network, lies: [lie] });
    kinds.set(liar.get(lie)!, lie);
  }
  return { trainer, verifier, all: [trainer, verifier, ...honest, ...altered], kinds };
}

function eventsOf<E extends RoleEvent['event']>({ events }: MurmurProcess, kind: E): readonly EventOf<E>[] {
  return events.filter((each): each is EventOf<E> => each.event === kind);
}

/** @throws {Error} when a process ends before its time */
async function watch({ all, trainer }: Swarm, ms: number, note: BenchContext['note']): Promise<void> {
  const ended = Promise.race(all.map(async ({ name, exited }) => ({ name, exit: await exited })));
  for (const end = performance.now() + ms; performance.now() < end; ) {
    const early = await Promise.race([ended, sleep(Math.min(TELL_MS, end - performance.now()))]);
    if (early) throw new Error(`${early.name} ended by itself: ${JSON.stringify(early.exit)}`);
    const last = eventsOf(trainer, 'evaluation').at(-1);
    note(`    ${eventsOf(trainer, 'step').length} steps, held-out ${last?.accuracy.toFixed(3)} at ${last?.policyStep}`);
  }
}

async function outcomesOf(lab: MurmurLab, { verifier, kinds }: Swarm): Promise<readonly PeerOutcome[]> {
  const rows = (await lab.ask(['peers', '--data-dir', lab.dataDir('verifier')])) as readonly {
    readonly peer: string;
    readonly acceptedGroups?: number;
    readonly rejectedGroups?: number;
  }[];
  return [...kinds].map(([peerId, kind]) => {
    const { acceptedGroups = 0, rejectedGroups = 0 } = rows.find(({ peer }) => peer === peerId) ?? {};
    const quarantined = eventsOf(verifier, 'quarantined').filter((each) => each.peerId === peerId);
    const codes: Record<string, number> = {};
    for (const each of eventsOf(verifier, 'rejected')) {
      if (each.peerId === peerId) codes[each.code] = (codes[each.code] ?? 0) + 1;
    }
    const judgedUntilQuarantine = quarantined[0]?.judgedOfPeer ?? null;
    return { kind, acceptedGroups, rejectedGroups, codes, judgedUntilQuarantine, quarantines: quarantined.length };
  });
}

async function runSwarm(hasLiars: boolean, { note, minutes }: BenchContext): Promise<SwarmOutcome> {
  // The lab is the first that was begun: its folder goes when everybody has left it.
  return withEndings(async (t) => {
    const lab = await murmurLab(t);
    const swarm = await startSwarm(t, lab, hasLiars);
    note(`  ${hasLiars ? 'with' : 'without'} liars: ${swarm.kinds.size} nodes`);
    await watch(swarm, (minutes ?? DEFAULT_MINUTES) * 60_000, note);
    const peers = await outcomesOf(lab, swarm);
    await swarm.trainer.interrupt(STOP_MS);
    return {
      evaluations: eventsOf(swarm.trainer, 'evaluation').map(({ policyStep, accuracy }) => ({ policyStep, accuracy })),
      steps: eventsOf(swarm.trainer, 'step').map(({ policyStep, rewardMean }) => ({ policyStep, rewardMean })),
      peers,
      counts: (await swarm.trainer.event('summary')).counts,
    };
  });
}

/** Mean accuracy of the last evaluations of steps that both came to, in percent. */
function comparedAccuracy(a: SwarmOutcome, b: SwarmOutcome): { readonly step: number; readonly values: number[] } {
  const steps = a.evaluations.map(({ policyStep }) => policyStep);
  const common = steps.filter((step) => b.evaluations.some(({ policyStep }) => policyStep === step));
  const last = common.slice(-LAST_EVALUATIONS);
  const values = [a, b].map(({ evaluations }) => {
    const chosen = evaluations.filter(({ policyStep }) => last.includes(policyStep));
    return (100 * chosen.reduce((sum, { accuracy }) => sum + accuracy, 0)) / chosen.length;
  });
  return { step: last.at(-1) ?? 0, values };
}

/** One line a kind of peer. */
function told({ peers, counts }: SwarmOutcome): string {
  const lines = peers.map(({ kind, acceptedGroups, rejectedGroups, codes, judgedUntilQuarantine, quarantines }) => {
    const until = judgedUntilQuarantine === null ? 'never quarantined' : `first after ${judgedUntilQuarantine} groups`;
    return `    ${kind}: ${acceptedGroups} accepted, ${rejectedGroups} rejected ${JSON.stringify(codes)}, ${quarantines} quarantines, ${until}`;
  });
  return [...lines, `    ledger ${JSON.stringify(counts)}`].join('\n');
}

async function run(context: BenchContext): Promise<readonly Row[]> {
  const liars = await runSwarm(true, context);
  context.note(told(liars));
  const honest = await runSwarm(false, context);
  context.note(told(honest));
  context.keep('liars-swarm', { seed: SEED, liars, honest });
  for (const [name, { evaluations }] of Object.entries({ liars, honest })) {
    const curve = evaluations.map(({ policyStep, accuracy }) => `${policyStep}:${accuracy.toFixed(3)}`);
    context.note(`  held-out, ${name}: ${curve.join(' ')}`);
  }
  const { step, values } = comparedAccuracy(liars, honest);
  const [withLiars, without] = values as [number, number];
  const peers = [...liars.peers, ...honest.peers];
  const punished = peers.filter((each) => each.kind === 'honest' && (each.rejectedGroups > 0 || each.quarantines > 0));
  const caught = liars.peers.filter((each) => each.kind !== 'honest' && each.quarantines > 0);
  const most = (atMost: number) => ({ of: 'value', atMost }) as const;
  return [
    row({
      ...{ name: `liars-swarm: held-out, evaluations to step ${step}`, value: withLiars, unit: '%' },
      ...{ peer: 'without liars', peerValue: without },
    }),
    row({
      ...{ name: 'liars-swarm: points apart', value: Math.abs(withLiars - without), unit: 'points' },
      target: most(MAX_POINTS_APART),
    }),
    row({ name: 'liars-swarm: honest peers punished', value: punished.length, unit: 'peers', target: most(0) }),
    row({
      ...{ name: 'liars-swarm: liars quarantined, of 3', value: caught.length, unit: 'liars' },
      target: { of: 'value', atLeast: 1 + OTHER_LIES.length },
    }),
  ];
}

export const liarsSwarm: Benchmark = { name: 'liars-swarm', isLong: true, run };

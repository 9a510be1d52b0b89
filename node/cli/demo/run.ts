// The demo: a whole swarm of separate processes on this machine, from a completed recipe to the summary.
// Every process is the command that a user would type; the demo only starts them, listens and stops them.

import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device } from '../../model/device.ts';
import { toHex } from '../../protocol/bytes.ts';
import { isSwarmError } from '../../protocol/errors.ts';
import type { RoleEvent } from '../events.ts';
import { createPlainDisplay, createScreenDisplay } from './display.ts';
import { createProcessSet, type ProcessSet, type SwarmProcess } from './processes.ts';
import type { SwarmSize } from './size.ts';
import { applyEvent, createDemoState, type DemoAim, type DemoSummary, hasLearned, LIAR, summarize } from './state.ts';

export interface DemoInit extends DemoAim {
  readonly dataDir: string;
  /** the completed recipe, and the folder of its model */
  readonly recipeFile: string;
  readonly folder: string;
  readonly size: SwarmSize;
  readonly seed: number;
  readonly maxSteps: number;
  readonly out: NodeJS.WriteStream;
  readonly device: Device;
  readonly signal: AbortSignal;
  /** aborts when even a clean end takes too long */
  readonly hurry: AbortSignal;
}

export interface DemoResult {
  readonly summary: DemoSummary;
  readonly learned: boolean;
  readonly interrupted: boolean;
}

/** Weights of the liar differ from the policy's by this share of each tensor's standard deviation. */
const LIAR_NOISE = '0.05';
const EVAL_EVERY = '5';

/** Where the processes of a demo keep what is theirs. */
export const processDir = (dataDir: string, name: string): string => join(dataDir, name);

/**
 * Runs the swarm until it has learned, `maxSteps` are over or `signal` aborts; every process is stopped on return.
 * @throws {SwarmError} what the trainer failed of
 */
export async function runDemo(init: DemoInit): Promise<DemoResult> {
  await mkdir(init.dataDir, { recursive: true });
  const state = createDemoState(Date.now(), init);
  const display = init.out.isTTY ? createScreenDisplay(state, init.out) : createPlainDisplay(state, init.out);
  let wake = (): void => {};
  let isEnding = false;
  const onEvent = (name: string, event: RoleEvent): void => {
    applyEvent(state, name, event);
    // That nobody can reach the trainer any more is no news.
    if (!isEnding) display.event(name, event);
    wake();
  };
  const processes = createProcessSet(init.dataDir, onEvent);
  init.signal.addEventListener('abort', () => wake(), { once: true });
  init.hurry.addEventListener('abort', () => processes.killAll(), { once: true });
  try {
    const trainer = await startSwarm(processes, init);
    let trainerCode: number | null = null;
    void trainer.exited.then((code) => {
      trainerCode = code;
      wake();
    });
    while (!init.signal.aborted && !hasLearned(state) && trainerCode === null) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    isEnding = true;
    if (trainerCode !== null && trainerCode !== 0) throw trainer.endedWith(trainerCode);
    // The trainer first, so that its ledger closes while the others still answer.
    await trainer.stop();
  } catch (error) {
    if (!(init.signal.aborted && isSwarmError(error))) throw error;
  } finally {
    await processes.stopAll();
    display.close();
  }
  const summary = summarize(state, init.seed, Date.now());
  await writeFile(join(init.dataDir, 'demo.json'), `${JSON.stringify(summary, null, 2)}\n`);
  return { summary, learned: hasLearned(state), interrupted: init.signal.aborted };
}

async function startSwarm(processes: ProcessSet, init: DemoInit): Promise<SwarmProcess> {
  const { size } = init;
  const dir = (name: string): string[] => ['--data-dir', processDir(init.dataDir, name)];
  const network = [
    ...['--network', `demo-${toHex(randomBytes(6))}`, '--loopback', '--host', '127.0.0.1'],
    ...['--device', init.device],
  ];
  const trainer = processes.start('trainer', [
    ...['train', ...dir('trainer'), ...network, '--recipe', init.recipeFile, '--model', init.folder, '--no-verify'],
    ...['--eval-every', EVAL_EVERY, '--eval-tasks', String(size.evalTasks), '--max-steps', String(init.maxSteps)],
    ...['--seed', String(init.seed), '--threads', String(size.trainerThreads)],
    ...['--memory', String(size.trainerMemoryBytes)],
  ]);
  const address = (await trainer.first('listening')).addresses[0] ?? '';
  if (init.signal.aborted) return trainer;
  const compute = ['--threads', String(size.threads), '--memory', String(size.memoryBytes)];
  const joined = [...network, '--join', address, ...compute];
  processes.start('verifier', ['verify', ...dir('verifier'), ...joined]);
  for (let i = 1; i <= size.nodes; i++) processes.start(`node-${i}`, ['node', ...dir(`node-${i}`), ...joined]);
  if (init.hasLiar) processes.start(LIAR, ['node', ...dir(LIAR), ...joined, '--alter-weights', LIAR_NOISE]);
  return trainer;
}

// The demo: a whole swarm of separate processes on this machine, from their keys to the summary.
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
import { writeDemoRecipe } from './recipe.ts';
import { applyEvent, createDemoState, type DemoSummary, hasLearned, LIAR, summarize } from './state.ts';

export interface DemoInit {
  readonly dataDir: string;
  readonly seed: number;
  readonly maxSteps: number;
  readonly nodes: number;
  /** `--model` */
  readonly model: string | undefined;
  readonly out: NodeJS.WriteStream;
  readonly device: Device;
  readonly signal: AbortSignal;
}

export interface DemoResult {
  readonly summary: DemoSummary;
  readonly learned: boolean;
  readonly interrupted: boolean;
}

/** Weights of the liar differ from the policy's by this share of each tensor's standard deviation. */
const LIAR_NOISE = '0.05';

/** Runs the swarm until it has learned, `maxSteps` are over or `signal` aborts; every process is stopped on return. */
export async function runDemo(init: DemoInit): Promise<DemoResult> {
  await mkdir(init.dataDir, { recursive: true });
  const state = createDemoState(Date.now());
  const display = init.out.isTTY ? createScreenDisplay(state, init.out) : createPlainDisplay(state, init.out);
  let wake = (): void => {};
  const onEvent = (name: string, event: RoleEvent): void => {
    applyEvent(state, name, event);
    display.event(name, event);
    wake();
  };
  const processes = createProcessSet(init.dataDir, onEvent);
  init.signal.addEventListener('abort', () => wake(), { once: true });
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
  const dir = (name: string): string => join(init.dataDir, name);
  const recipeFile = join(init.dataDir, 'recipe.json');
  const folder = await writeDemoRecipe({
    file: recipeFile,
    model: init.model,
    trainerDir: dir('trainer'),
    verifierDir: dir('verifier'),
  });
  const network = [
    '--network',
    `demo-${toHex(randomBytes(6))}`,
    '--loopback',
    '--host',
    '127.0.0.1',
    '--device',
    init.device,
  ];
  const trainer = processes.start('trainer', [
    ...['train', '--data-dir', dir('trainer'), ...network, '--recipe', recipeFile, '--model', folder, '--no-verify'],
    ...[
      '--eval-every',
      '5',
      '--eval-tasks',
      '512',
      '--max-steps',
      String(init.maxSteps),
      '--seed',
      String(init.seed),
      '--threads',
      '1',
    ],
  ]);
  const address = (await trainer.first('listening')).addresses[0] ?? '';
  const joined = [...network, '--join', address, '--threads', '1'];
  processes.start('verifier', ['verify', '--data-dir', dir('verifier'), ...joined]);
  for (let i = 1; i <= init.nodes; i++)
    processes.start(`node-${i}`, ['node', '--data-dir', dir(`node-${i}`), ...joined]);
  processes.start(LIAR, ['node', '--data-dir', dir(LIAR), ...joined, '--alter-weights', LIAR_NOISE]);
  return trainer;
}

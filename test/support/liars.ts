// Processes of liars (test/attacks/liar-process.ts) as tests and benchmarks start them.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Ending } from './temp-dir.ts';

const LIAR_PROCESS = fileURLToPath(new URL('../attacks/liar-process.ts', import.meta.url));

export type LiarName = 'inflate' | 'edit' | 'copy' | 'acceptAll' | 'rejectAll';

export interface LiarsInit {
  /** their data directories are made in it */
  readonly dir: string;
  /** of anybody in the swarm */
  readonly address: string;
  readonly network: string;
  readonly lies: readonly LiarName[];
}

/** Starts a process of liars; it is killed when `t` ends. @returns peer ids by lie, once all of them work */
export async function startLiars(t: Ending, { dir, address, network, lies }: LiarsInit): Promise<Map<string, string>> {
  const child = spawn(process.execPath, [LIAR_PROCESS, dir, address, network, ...lies], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const peers = new Map<string, string>();
  for await (const line of createInterface({ input: child.stdout })) {
    const { lie, peerId } = JSON.parse(line) as { readonly lie: string; readonly peerId: string };
    peers.set(lie, peerId);
    if (peers.size === lies.length) return peers;
  }
  throw new Error('the process of liars ended');
}

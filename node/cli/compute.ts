// What a model runs on when a command says so, and how many threads it gets when nobody does.

import { availableParallelism } from 'node:os';
import type { Device, Placement } from '../model/device.ts';

/** Who runs a model. `alone`: a command that has the machine to itself and ends (eval, warm-up, chat). */
export type ComputeRole = 'train' | 'node' | 'verify' | 'alone';

/**
 * Shares of the machine's logical processors. Any two roles together get no more than there are, so two on one machine do
 * not fight; and half of the logical ones is every core where a core runs two threads. A verifier needs a fraction of what
 * generation takes: one pass over what was made token by token.
 */
const SHARE: Readonly<Record<ComputeRole, number>> = { train: 1 / 2, node: 1 / 2, verify: 1 / 4, alone: 1 };

/** Says what a role gets, for --help. */
export const THREADS_HELP: Readonly<Record<ComputeRole, string>> = {
  train: 'half of the processors, at least 1',
  node: 'half of the processors, at least 1',
  verify: 'a quarter of the processors, at least 1',
  alone: 'all processors',
};

/** @param asked the --threads flag */
export function chooseThreads(
  asked: number | undefined,
  role: ComputeRole,
  processors: number = availableParallelism(),
): number {
  return asked ?? Math.max(1, Math.floor(processors * SHARE[role]));
}

/** What has to be known of a device before one relies on it. */
export const DEVICE_NOTE: Readonly<Record<Device, string | null>> = {
  cpu: null,
  webgpu: null,
  cuda: 'for testing: onnxruntime-node keeps nothing on a CUDA device between runs, so a sequence travels there with each of its tokens; --device webgpu keeps it on the GPU',
};

/**
 * Where a command's sessions run. A GPU is tried at once, so that a role that cannot work never joins.
 * @throws {SwarmError} DEVICE_UNAVAILABLE
 */
export async function choosePlacement(
  { device, threads }: { readonly device: Device; readonly threads?: number },
  role: ComputeRole,
): Promise<Placement> {
  if (device !== 'cpu') {
    const { checkDevice } = await import('../model/engine/open-session.ts');
    await checkDevice(device);
    const note = DEVICE_NOTE[device];
    if (note !== null) process.stderr.write(`murmur: --device ${device}: ${note}\n`);
  }
  return { device, threads: chooseThreads(threads, role) };
}

// Opens ONNX Runtime's sessions: the one place that knows providers, which options a device means, and what is missing
// where it cannot be used. Source: design.md "Any vendor's GPU", "Threads that wait must not spin"; onnxruntime-node 1.30.
// Invariant: a thread that waits spins for at most SPIN_US before it sleeps.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { errorText, SwarmError } from '../../protocol/errors.ts';
import type { Device, Placement } from '../device.ts';
import { GraphBuilder } from '../graph/builder.ts';
import { encodeModel } from '../graph/encode.ts';
import { add } from '../graph/ops.ts';
import type { BuiltGraph } from '../llama/built-graph.ts';
import { inGpuTurn } from './gpu-turns.ts';

export type SessionOptions = InferenceSession.SessionOptions;

const PACKAGE = dirname(dirname(createRequire(import.meta.url).resolve('onnxruntime-node')));
const CUDA_PROVIDER = join(PACKAGE, 'bin/napi-v6', process.platform, process.arch, 'libonnxruntime_providers_cuda.so');

/** What has to be done on this machine before a device works. */
const REMEDY: Readonly<Record<Exclude<Device, 'cpu'>, string>> = {
  webgpu:
    "it needs a GPU with its driver, and on Linux x64 the Vulkan loader (Debian: apt install libvulkan1, and mesa-vulkan-drivers or NVIDIA's own driver; `vulkaninfo --summary` must list the GPU); or use --device cpu",
  cuda: `it needs Linux x64, an NVIDIA driver, CUDA 12, cuDNN 9 and the provider, which npm ci leaves out: ONNXRUNTIME_NODE_INSTALL=cuda12 node ${join(PACKAGE, 'script/install.js')} fetches it; or use --device webgpu, which needs none of these`,
};

/** Texts of ONNX Runtime that mean: the provider, its driver or its hardware is not here. */
const ABSENT: readonly RegExp[] = [
  /No supported adapters|Failed to get a WebGPU|Vulkan/i,
  /Failed to load (shared )?library|CUDA failure|CUDA driver|no CUDA-capable device/i,
  /backend not found|is unsupported: '|execution provider is not enabled/i,
];

function unavailable(device: Exclude<Device, 'cpu'>, why: string, cause?: unknown): SwarmError {
  const message = `The device ${device} cannot be used here (${why}): ${REMEDY[device]}.`;
  return new SwarmError('DEVICE_UNAVAILABLE', message, { device }, { cause });
}

/** The error that a session of `device` failed with, as one of ours. */
function sessionError(device: Device, cause: unknown): SwarmError {
  const text = errorText(cause);
  if (device !== 'cpu' && ABSENT.some((pattern) => pattern.test(text))) {
    return unavailable(device, /No supported adapters/.exec(text)?.[0] ?? text.trim().split('\n')[0]!, cause);
  }
  return new SwarmError('ENGINE_FAILED', `ONNX Runtime cannot build a session: ${text}`, { device }, { cause });
}

/**
 * How long a thread waits awake for the next operator's share before it sleeps: a decode step has hundreds of short
 * operators, and to be woken for each took half its time; 100 steps with pauses of 20 ms cost 410 ms of CPU instead of
 * 361 without, and 632 with the default of a millisecond (measured, 5.6 M, 2 threads).
 */
const SPIN_US = '20';

/** It would put a transposition that a graph asks for back into the product, where it is slow (trainer/autodiff/product.ts). */
const UNWANTED_OPTIMIZERS = 'GemmTransposeFusion';

/**
 * A session's options. It keeps no arena and no memory patterns: shapes change with every batch, and each new one would
 * add to both.
 */
export function sessionOptions({ device = 'cpu', threads }: Placement): SessionOptions {
  return {
    executionProviders: [device],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    enableCpuMemArena: false,
    enableMemPattern: false,
    // A GPU's provider warns of every shape computation that stays on the CPU, and tells errors that are thrown anyway.
    logSeverityLevel: device === 'cpu' ? 3 : 4,
    extra: {
      session: { intra_op: { allow_spinning: '1', spin_duration_us: SPIN_US } },
      optimization: { disable_specified_optimizers: UNWANTED_OPTIMIZERS },
    },
  };
}

/** The bytes of a graph that suit a device. */
export function modelFor(graph: BuiltGraph, device: Device = 'cpu'): Uint8Array<ArrayBuffer> {
  return device === 'webgpu' ? graph.portableModel() : graph.model;
}

/**
 * Opens a session. Synchronous inside: only for worker threads and tests.
 * @param model bytes of an ONNX model, from `modelFor`
 * @param more options beside those of the placement
 * @throws {SwarmError} DEVICE_UNAVAILABLE, ENGINE_FAILED
 */
export async function openSession(
  model: Uint8Array,
  placement: Placement,
  more: SessionOptions = {},
): Promise<InferenceSession> {
  // ONNX Runtime itself would write its error to stderr first.
  if (placement.device === 'cuda' && !existsSync(CUDA_PROVIDER)) throw unavailable('cuda', 'its provider is missing');
  const open = (): Promise<InferenceSession> =>
    InferenceSession.create(model, { ...sessionOptions(placement), ...more });
  try {
    return placement.device === 'webgpu' ? taking(await inGpuTurn(open)) : await open();
  } catch (cause) {
    throw sessionError(placement.device ?? 'cpu', cause);
  }
}

/** A session whose calls take turns with those of other threads. */
function taking(session: InferenceSession): InferenceSession {
  const [run, release] = [session.run.bind(session), session.release.bind(session)];
  return Object.assign(session, {
    run: (...args: Parameters<typeof run>) => inGpuTurn(() => run(...args)),
    release: () => inGpuTurn(release),
  });
}

/** Opens and closes the least session. @throws {SwarmError} DEVICE_UNAVAILABLE when `device` cannot be used here */
export async function checkDevice(device: Device): Promise<void> {
  const graph = new GraphBuilder('check');
  graph.output('y', add(graph.input('x', 'float32', [1]), 1));
  const session = await openSession(encodeModel(graph), { device, threads: 1 });
  await session.release();
}

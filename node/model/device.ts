// What runs the graphs: this machine's processor, or a GPU through one of ONNX Runtime's providers. The one place that
// knows providers: which options a device means, and what is missing where it cannot be opened.
// Source: design.md "Any vendor's GPU", "Threads that wait must not spin"; onnxruntime-node 1.30's binding.
// Invariant: a session's pool never spins while it waits, unless its role owns the machine.

import { InferenceSession } from 'onnxruntime-node';
import { errorText, SwarmError } from '../protocol/errors.ts';
import type { BuiltGraph } from './llama/built-graph.ts';

export const DEVICES = ['cpu', 'webgpu', 'cuda'] as const;

/** `webgpu`: any vendor's GPU (Vulkan, Metal, Direct3D 12), inside the npm package. `cuda`: NVIDIA's, libraries extra. */
export type Device = (typeof DEVICES)[number];

/** Where and how a session runs. */
export interface Placement {
  /** default: cpu */
  readonly device?: Device;
  /** of ONNX Runtime's pool, the caller's own included; on a GPU, for what it hands back to the CPU */
  readonly threads: number;
  /** let waiting threads spin: a little faster where nothing else runs on the machine; default false */
  readonly spin?: boolean;
}

export type SessionOptions = InferenceSession.SessionOptions;

/** What an operator of this machine has to do before `device` works. */
const REMEDY: Readonly<Record<Device, string>> = {
  cpu: 'reinstall the package onnxruntime-node',
  webgpu:
    'it needs a GPU with its driver, and on Linux x64 the Vulkan loader (Debian: apt install libvulkan1 mesa-vulkan-drivers; NVIDIA: its own driver); `vulkaninfo --summary` must list the GPU. Or use --device cpu',
  cuda: 'it needs Linux x64, an NVIDIA driver, CUDA 12, cuDNN 9, and the provider, which npm ci skips: run `ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install.js`. Or use --device webgpu, which needs no libraries',
};

/** Texts of ONNX Runtime that mean: the provider, its driver or its hardware is not here. */
const ABSENT: readonly RegExp[] = [
  /No supported adapters|Failed to get a WebGPU adapter|WebGPU (device|instance)|Vulkan/i,
  /Failed to load shared library|libcud|libcublas|CUDA failure|CUDA driver|no CUDA-capable device/i,
  /backend not found|is unsupported: '|execution provider is not enabled/i,
];

/** The error that a session of `device` failed with, as one of ours. */
function sessionError(device: Device, cause: unknown): SwarmError {
  const text = errorText(cause);
  if (device !== 'cpu' && ABSENT.some((pattern) => pattern.test(text))) {
    const why = /No supported adapters/.test(text) ? 'No supported adapters' : text.trim().split('\n')[0]!;
    const message = `The device ${device} cannot be used here (${why}): ${REMEDY[device]}.`;
    return new SwarmError('DEVICE_UNAVAILABLE', message, { device }, { cause });
  }
  return new SwarmError('ENGINE_FAILED', `ONNX Runtime cannot build a session: ${text}`, { device }, { cause });
}

/**
 * A session's options. It keeps no arena and no memory patterns: shapes change with every batch, and each new one would
 * add to both.
 */
export function sessionOptions({ device = 'cpu', threads, spin = false }: Placement): SessionOptions {
  return {
    executionProviders: [device],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    enableCpuMemArena: false,
    enableMemPattern: false,
    // A GPU's provider warns of every shape computation that stays on the CPU, and tells errors that are thrown anyway.
    logSeverityLevel: device === 'cpu' ? 3 : 4,
    extra: { session: { intra_op: { allow_spinning: spin ? '1' : '0' } } },
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
  try {
    return await InferenceSession.create(model, { ...sessionOptions(placement), ...more });
  } catch (cause) {
    throw sessionError(placement.device ?? 'cpu', cause);
  }
}

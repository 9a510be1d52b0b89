// What a GPU's provider hands back to the CPU: runs a graph once under ONNX Runtime's profiler and reads who ran what.
// The values do not matter; a run on SwiftShader says the same as one on a GPU.

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Tensor } from 'onnxruntime-node';
import type { Placement } from '../device.ts';
import { type Dim, dimFactors, sumTerms } from '../graph/dim.ts';
import type { BuiltGraph, TensorInfo } from '../llama/built-graph.ts';
import { modelFor, openSession } from './open-session.ts';
import { floatTensor, intTensor } from './session.ts';

/** Nodes of one operator that the CPU ran. */
export interface HandedBack {
  readonly op: string;
  readonly nodes: number;
  /** of their outputs together: what travels */
  readonly bytes: number;
}

/** Who ran a graph's nodes. */
export interface NodePlacement {
  readonly onDevice: number;
  readonly handedBack: readonly HandedBack[];
}

/** One event of ONNX Runtime's profile, as far as it is read. */
interface ProfileEvent {
  readonly cat?: string;
  readonly args?: { readonly op_name?: string; readonly provider?: string; readonly output_size?: string };
}

/** What every symbol of a shape stands for. */
const SYMBOL_SIZE = 4;

function sizeOf(dim: Dim): number {
  const { coefficient, factors } = dimFactors(dim);
  const sizes = factors.map((factor) => sumTerms(factor)?.reduce<number>((sum, term) => sum + sizeOf(term), 0));
  return sizes.reduce<number>((product, size) => product * (size ?? SYMBOL_SIZE), coefficient);
}

/** Zeros; ones where whole numbers are asked for: ids, lengths and rows that every graph has. */
function anything({ dtype, shape }: TensorInfo): Tensor {
  const dims = shape.map(sizeOf);
  const count = dims.reduce((product, dim) => product * dim, 1);
  return dtype === 'float32'
    ? floatTensor(new Float32Array(count), dims)
    : intTensor(new Int32Array(count).fill(1), dims);
}

/** @throws {SwarmError} DEVICE_UNAVAILABLE, ENGINE_FAILED */
export async function nodePlacement(graph: BuiltGraph, placement: Placement): Promise<NodePlacement> {
  const dir = await mkdtemp(join(tmpdir(), 'murmur-profile-'));
  try {
    const profiling = { enableProfiling: true, profileFilePrefix: join(dir, 'profile') };
    const session = await openSession(modelFor(graph, placement.device), placement, profiling);
    await session.run(Object.fromEntries(graph.inputs.map((input) => [input.name, anything(input)])));
    session.endProfiling();
    await session.release();
    const [file] = await readdir(dir);
    return readProfile(JSON.parse(await readFile(join(dir, file!), 'utf8')) as ProfileEvent[]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function readProfile(events: readonly ProfileEvent[]): NodePlacement {
  let onDevice = 0;
  const byOp = new Map<string, HandedBack>();
  for (const { cat, args } of events) {
    const { op_name: op, provider, output_size: size } = args ?? {};
    // Copies between host and device are the runtime's own nodes.
    if (cat !== 'Node' || op === undefined || provider === undefined || op.startsWith('Memcpy')) continue;
    if (provider !== 'CPUExecutionProvider') {
      onDevice++;
      continue;
    }
    const known = byOp.get(op) ?? { op, nodes: 0, bytes: 0 };
    byOp.set(op, { op, nodes: known.nodes + 1, bytes: known.bytes + Number(size ?? 0) });
  }
  return { onDevice, handedBack: [...byOp.values()].sort((a, b) => b.bytes - a.bytes) };
}

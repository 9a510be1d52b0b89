// How large a swarm a model gets on this machine: a small one what the demo was made for, a large one no more than is
// needed to see it learn.

/** Parameters up to which processes are cheap: the starter has 0.86 M. */
const SMALL_PARAMETERS = 20e6;

export interface SwarmSize {
  /** honest contributor nodes */
  readonly nodes: number;
  readonly evalTasks: number;
  readonly trainerThreads: number;
  /** of every other process */
  readonly threads: number;
  /** `--memory` of the trainer: several policies to replay under, one of them in two layouts */
  readonly trainerMemoryBytes: number;
  /** `--memory` of every other process */
  readonly memoryBytes: number;
}

/** What the user asked for instead. */
export interface AskedSize {
  readonly nodes?: number | undefined;
  readonly evalTasks?: number | undefined;
}

const GB = 1e9;
const DEFAULT_BYTES = 2 * GB;
/** Of a model's float32 size: README "Memory and speed". */
const NODE_COPIES = 5;
const TRAINER_COPIES = 8;
/** float32 weights, gradients and two moments */
const TRAINING_BYTES = 16;

const budget = (parameters: number, copies: number): number =>
  Math.max(DEFAULT_BYTES, Math.ceil((4 * parameters * copies) / GB) * GB);

/**
 * @param parameters of the model
 * @param processors of the machine, logical
 */
export function swarmSize(parameters: number, processors: number, asked: AskedSize = {}): SwarmSize {
  const isSmall = parameters <= SMALL_PARAMETERS;
  const nodes = asked.nodes ?? (isSmall ? 3 : 1);
  // More threads than one slow a small model down. Of a large one the trainer takes half of the machine, the others share.
  const half = processors / 2;
  return {
    nodes,
    evalTasks: asked.evalTasks ?? (isSmall ? 512 : 128),
    trainerThreads: isSmall ? 1 : Math.max(1, Math.floor(half)),
    threads: isSmall ? 1 : Math.max(1, Math.floor(half / (nodes + 1))),
    trainerMemoryBytes: budget(parameters, TRAINER_COPIES),
    memoryBytes: budget(parameters, NODE_COPIES),
  };
}

/**
 * A rough count of what the processes may hold together when each uses up its budget.
 * @param others processes beside the trainer
 */
export function bytesAtMost(parameters: number, size: SwarmSize, others: number): number {
  return size.trainerMemoryBytes + TRAINING_BYTES * parameters + others * size.memoryBytes;
}

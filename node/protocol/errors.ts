// The one error type of the project: a closed set of codes, flat detail, a message that says what to do.
// A folder may subclass it (GraphError, RecipeError, ...). Wire checks do not throw: they answer (see check.ts).

/** Every code an error of ours can carry, by the folder that raises it. */
export type ErrorCode =
  // protocol
  | 'MALFORMED'
  | 'TOO_LARGE'
  | 'BAD_SIGNATURE'
  | 'WRONG_NETWORK'
  | 'UNSUPPORTED_VERSION'
  | 'BAD_KEY'
  // graph, model
  | 'GRAPH_SHAPE'
  | 'GRAPH_TYPE'
  | 'GRAPH_UNKNOWN_TENSOR'
  | 'GROUP_TOO_SMALL'
  | 'UNSUPPORTED_MODEL'
  | 'MODEL_FILE_MISSING'
  | 'MODEL_FILE_CORRUPT'
  | 'MODEL_TENSOR_MISMATCH'
  | 'NON_FINITE_WEIGHT'
  | 'TOKENIZER_MISMATCH'
  | 'TOKENIZER_TOO_SLOW'
  | 'TEXT_NOT_ENCODABLE'
  | 'HUB_NOT_FOUND'
  | 'HUB_DENIED'
  | 'HUB_UNREACHABLE'
  | 'HUB_OFFLINE'
  | 'HUB_CORRUPT'
  | 'OUTPUT_EXISTS'
  | 'CHAT_TEMPLATE_MISSING'
  | 'CHAT_TEMPLATE_FAILED'
  | 'ENGINE_FAILED'
  | 'ENGINE_CLOSED'
  | 'DEVICE_UNAVAILABLE'
  | 'POLICY_NOT_LOADED'
  | 'OUT_OF_MEMORY_BUDGET'
  // proofs
  | 'PROOF_MALFORMED'
  | 'PROOF_NAN'
  // store
  | 'DATA_DIR_IN_USE'
  | 'DATA_DIR_UNUSABLE'
  | 'DISK_FULL'
  | 'DISK_BUDGET'
  | 'BLOB_MISSING'
  | 'BLOB_CORRUPT'
  | 'RECORD_CORRUPT'
  // network
  | 'PORT_IN_USE'
  | 'BAD_ADDRESS'
  | 'PEER_UNREACHABLE'
  | 'REQUEST_TIMEOUT'
  | 'REQUEST_REFUSED'
  | 'RATE_LIMITED'
  | 'STREAM_ENDED'
  // recipes
  | 'RECIPE_INVALID'
  | 'RECIPE_TOO_LARGE'
  | 'RECIPE_UNKNOWN_TASK'
  | 'RECIPE_UNKNOWN_REWARD'
  | 'RECIPE_NOT_FOUND'
  // shardcast
  | 'MANIFEST_INVALID'
  | 'SHARD_CORRUPT'
  | 'ROOT_MISMATCH'
  // trainer
  | 'NON_FINITE_STEP'
  | 'CHECKPOINT_CORRUPT'
  // cli
  | 'USAGE'
  | 'NO_RUNNING_NODE'
  | 'CONTROL_FAILED'
  | 'CONTROL_REFUSED'
  | 'CONTROL_TIMEOUT'
  | 'NOT_FOUND'
  | 'INTERRUPTED'
  | 'INTERNAL';

/** Flat values that make a message concrete: numbers with units in their names, ids, paths. */
export type ErrorDetail = Readonly<Record<string, string | number | boolean | null>>;

/**
 * What every part of Murmuration throws.
 * @param code what went wrong, for machines and tests
 * @param message what happened, what was expected, what to do
 */
export class SwarmError extends Error {
  readonly code: ErrorCode;
  readonly detail: ErrorDetail;

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.detail = detail;
  }
}

/** Whether `error` is ours and, when codes are given, carries one of them. */
export function isSwarmError(error: unknown, ...codes: readonly ErrorCode[]): error is SwarmError {
  return error instanceof SwarmError && (codes.length === 0 || codes.includes(error.code));
}

/** The text of anything thrown, for a log line. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

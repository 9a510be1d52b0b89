// Ports: what a service is given by its host. Services meet through these and through messages, never by import.
// Implementations live in node/network, node/store, node/model/engine, ...; node/cli wires them; tests use memory ones.

import type { CheckAnswer } from './check.ts';

/** Logging as pino has it: values in context, constant message. */
export interface Logger {
  debug(context: object, message: string): void;
  info(context: object, message: string): void;
  warn(context: object, message: string): void;
  error(context: object, message: string): void;
}

export interface Clock {
  /** milliseconds since 1970 */
  nowMs(): number;
  /** resolves after `ms`, or at once (without throwing) when `signal` aborts */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Random {
  bytes(count: number): Uint8Array;
}

/** Something with a life: `start` may be called once, `stop` leaves clean state and may be called in any state. */
export interface Startable {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** libp2p peer id in its text form (12D3Koo…). */
export type PeerIdString = string;

/** A signed thing that passed signature, size and network checks; `payload` is still encoded. */
export interface SignedMessage {
  readonly kind: MessageKind;
  /** H(payload): recipe announcement id, groupId, verdict id, manifest id */
  readonly id: Uint8Array;
  /** lower-case hex of `id` */
  readonly idHex: string;
  readonly publicKey: Uint8Array;
  /** multihash of the signer's peer id, 38 bytes for Ed25519 */
  readonly peerId: Uint8Array;
  readonly peerIdString: PeerIdString;
  readonly payload: Uint8Array;
  /** the whole envelope as received, for storing and passing on */
  readonly envelope: Uint8Array;
}

/** What names a message: ids of two signers may be the same. */
export type MessageRef = Pick<SignedMessage, 'kind' | 'idHex' | 'peerIdString'>;

export type MessageKind = 'recipe' | 'group' | 'verdict' | 'manifest' | 'continuation' | 'offer' | 'secret';

/** Stage 0 of one kind: cheap, no model, < 5 ms. */
export type StageZero = (message: SignedMessage) => CheckAnswer | Promise<CheckAnswer>;

/**
 * Everything signed goes through here, from gossip, sync or ourselves: checked once, stored, then handed to listeners.
 * Invariant: a listener sees each accepted message id once per process; a message is stored before it is published.
 */
export interface Inbox {
  /** follow the topics of a recipe (hex id) */
  follow(recipeIdHex: string): Promise<void>;
  /** sign, store, hand to listeners, publish; `scope` is a recipe id in hex, or null for the recipes topic */
  publish(kind: MessageKind, payload: Uint8Array, scope: string | null): Promise<SignedMessage>;
  on(kind: MessageKind, listener: (message: SignedMessage, scope: string | null) => void): () => void;
  /** accepted messages on disk, oldest first */
  stored(kind: MessageKind, scope: string | null): AsyncIterable<SignedMessage>;
  /** deletes an accepted message from the disk; others may bring it again */
  forget(message: MessageRef, scope: string | null): Promise<void>;
  /**
   * Checks again what waits in a scope because it came too early (UNKNOWN_ROOT, UNKNOWN_RECIPE, PARENT_UNKNOWN): call it
   * when a manifest or recipe arrived. Returns how many were accepted.
   */
  reconsider(scope: string | null): Promise<number>;
  /** counts of what stage 0 dropped, by code */
  ignoredCounts(): Readonly<Record<string, number>>;
}

/** Content-addressed bytes on this machine. Names are SHA-256 in lower-case hex. */
export interface BlobStore {
  has(hashHex: string): Promise<boolean>;
  sizeBytes(hashHex: string): Promise<number | null>;
  /** writes to a temporary name, fsyncs, renames. @throws DISK_FULL, DISK_BUDGET */
  put(bytes: Uint8Array): Promise<string>;
  /** @throws BLOB_MISSING */
  get(hashHex: string): Promise<Uint8Array>;
  /** @throws BLOB_MISSING */
  read(hashHex: string, offset: number, length: number): Promise<Uint8Array>;
  delete(hashHex: string): Promise<void>;
  list(): AsyncIterable<{ readonly hashHex: string; readonly sizeBytes: number }>;
}

export interface FetchOptions {
  /** expected size; more is refused before it is read */
  readonly sizeBytes: number;
  /** asked first, in this order; then other connected peers */
  readonly from?: readonly PeerIdString[];
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Bytes by hash from other peers, by bounded pull (≤ 1 MiB a request), checked against the hash. */
export interface BlobFetcher {
  /** whole blob into memory and into the local store. @throws BLOB_MISSING, REQUEST_TIMEOUT, BLOB_CORRUPT, DISK_FULL */
  fetch(hashHex: string, options: FetchOptions): Promise<Uint8Array>;
  /** one range from one peer, unchecked (the caller checks the whole). @throws REQUEST_TIMEOUT, BLOB_MISSING, REQUEST_REFUSED */
  range(peer: PeerIdString, hashHex: string, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
  /** which of `hashes` a peer holds whole */
  have(peer: PeerIdString, hashes: readonly string[], signal?: AbortSignal): Promise<readonly boolean[]>;
  connectedPeers(): readonly PeerIdString[];
}

/** Small records on disk: string keys in UTF-8 order, bytes as values. */
export interface Records {
  get(key: string): Promise<Uint8Array | undefined>;
  /** at once, so that a validator of messages waits for no thread of the pool; small values only */
  has(key: string): boolean;
  put(key: string, value: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
  /** all or nothing; a value of null deletes */
  batch(entries: readonly (readonly [key: string, value: Uint8Array | null])[]): Promise<void>;
  entries(range?: {
    readonly gte?: string;
    readonly lt?: string;
    readonly limit?: number;
    readonly reverse?: boolean;
  }): AsyncIterable<readonly [string, Uint8Array]>;
}

/** Where a policy's files lie on this machine, whole and checked. */
export interface PolicyFiles {
  /** hex */
  readonly policyRoot: string;
  readonly configJson: string;
  /** safetensors (bf16, f16 or f32), or the index of a sharded one */
  readonly weightsFile: string;
}

export interface SamplingSettings {
  readonly temperature: number;
  /** 0 = off */
  readonly topK: number;
  /** 1 = off */
  readonly topP: number;
  readonly maxNewTokens: number;
  readonly endTokens: readonly number[];
  /** ids ≥ this have no token (padded rows of the embedding) */
  readonly tokenCount: number;
}

export interface GenerateRequest {
  readonly prompt: Uint32Array;
  /** 32 bytes each; one sequence is sampled for each */
  readonly sequenceSeeds: readonly Uint8Array[];
  /** A turn of a conversation: alone in its call, one sequence. What it shares with the turn before need not be read again. */
  readonly isTurn?: boolean;
}

export interface GeneratedSequence {
  /** end token included when there is one */
  readonly tokens: Uint32Array;
  readonly logprobs: Float32Array;
  readonly finish: 'eos' | 'length';
  /** of a turn: prompt tokens that were read for it, the others were held from the turn before */
  readonly promptTokensRead?: number;
  /** bf16 bits [(tokens - 1) · hidden]: final-norm states after reading output token 1, 2, … (spec/toploc.md) */
  readonly hidden: Uint16Array;
}

/** A token at the moment it is drawn, before its sequence is whole. */
export interface DrawnToken {
  /** which of the groups asked for, which of its sequences */
  readonly group: number;
  readonly index: number;
  readonly token: number;
}

export interface ReplayRequest {
  readonly prompt: Uint32Array;
  readonly tokens: Uint32Array;
}

export interface ReplayedSequence {
  /** log softmax(logits / temperature) of each taken token, before any cut */
  readonly logprobs: Float32Array;
  /** F(id − 1) and F(id) of each taken token, after the cut */
  readonly below: Float64Array;
  readonly upTo: Float64Array;
  /** where a cut is near: the interval under the other cut */
  readonly alternatives: readonly { readonly position: number; readonly below: number; readonly upTo: number }[];
  /** as in GeneratedSequence */
  readonly hidden: Uint16Array;
}

/** A policy in a worker thread: several may be loaded, the least recently used leave when memory ends. */
export interface PolicyEngine {
  load(
    policy: PolicyFiles,
    options?: {
      readonly alterWeights?: { readonly seed: number; readonly scale: number };
      readonly signal?: AbortSignal;
    },
  ): Promise<{
    readonly parameters: number;
  }>;
  unload(policyRoot: string): Promise<void>;
  /**
   * @param onToken hears each token as it is drawn, each sequence's in order, all of them before the promise settles
   * @throws POLICY_NOT_LOADED, ENGINE_FAILED, OUT_OF_MEMORY_BUDGET
   */
  generate(
    policyRoot: string,
    sampling: SamplingSettings,
    groups: readonly GenerateRequest[],
    signal?: AbortSignal,
    onToken?: (drawn: DrawnToken) => void,
  ): Promise<readonly (readonly GeneratedSequence[])[]>;
  /** @throws POLICY_NOT_LOADED, ENGINE_FAILED */
  replay(
    policyRoot: string,
    sampling: SamplingSettings,
    sequences: readonly ReplayRequest[],
    signal?: AbortSignal,
  ): Promise<readonly ReplayedSequence[]>;
  close(): Promise<void>;
}

/** TOPLOC proofs, built and checked off the decode path (spec/toploc.md). */
export interface Prover {
  /** @param hidden bf16 bits [rows · hiddenSize] @returns plain concatenation of the proofs */
  prove(hidden: Uint16Array, hiddenSize: number): Promise<Uint8Array>;
}

/** One policy of a recipe's chain as this machine knows it. */
export interface ChainPolicy {
  readonly policyStep: number;
  /** hex */
  readonly policyRoot: string;
  readonly manifestId: string;
  readonly wantGroups: number;
  readonly activePeers: number;
  readonly closing: boolean;
}

/** The chain of policies of one recipe: what was signed by its trainers, and what is on disk. Implemented by shardcast. */
export interface PolicyChain {
  /** newest manifest that is followed, its weights perhaps still on their way */
  announced(): ChainPolicy | null;
  /** newest policy whose weights are here, checked */
  ready(): ChainPolicy | null;
  /** by step, from the manifests known */
  at(policyStep: number): ChainPolicy | null;
  /** files of a policy that is here, null when not (yet, or no more) */
  files(policyRoot: string): Promise<PolicyFiles | null>;
  onReady(listener: (policy: ChainPolicy) => void): () => void;
}

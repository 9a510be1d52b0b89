// Request and answer over libp2p streams: one stream a request, one message each way, limits on everything.
// Source: design.md "Simplest that is right: bounded pull"; spec/wire.md "Streams".
// Invariants: every wait has a deadline that slow dripping does not move; streams per peer and in all are bounded, and those that
// wait for their peer (for its request, or until it has read our answer) take no places of requests that are worked on; a stream is
// always closed or aborted when its request is over; we ask one peer for no more at once than it would answer.

import type { Connection, Stream } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { errorText, isSwarmError, SwarmError } from '../protocol/errors.ts';
import type { Clock, Logger, PeerIdString } from '../protocol/ports.ts';
import { BLOB_PROTOCOL } from '../protocol/topics.ts';
import { readFrame, writeFrame } from './frames.ts';
import { createHeldStreams } from './held-streams.ts';
import type { Host } from './host.ts';
import { createRateLimiter, type Rate } from './rate-limit.ts';

/** Requests of one peer answered at once over all protocols, from work to the last byte, and its streams without a request. Our own. */
const MAX_STREAMS_PER_PEER = 8;
/** Requests worked on at once, of all peers and protocols, until their answer is made. Our own. */
const MAX_SERVED_AT_ONCE = 64;
/**
 * Answers that peers have yet to read, of all peers and protocols: 128 MiB at most. Our own: as many as libp2p keeps connections, so
 * that a peer without one finds a place, be it of a peer that holds two; the only answer of a peer is aborted for nobody.
 */
const MAX_ANSWERS_HELD = 128;
/** Streams held without a request, of all peers and protocols. Our own. */
const MAX_IDLE_STREAMS = 256;
/** Of our own at one peer: bodies, and each of the three other protocols. Together MAX_STREAMS_PER_PEER. */
const BLOBS_ASKED_AT_ONCE = 5;
const OTHERS_ASKED_AT_ONCE = 1;
/** A request is small: it must be here soon. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Making an answer. Nobody of ours waits longer for one. */
const WORK_TIMEOUT_MS = 30_000;
/**
 * Reading an answer: this long, and longer by what it has. Our own, so that 1 MiB has 31 s: a home line of 1 Mbit/s reads it in 8.6 s,
 * two at once in 17 s (measured). An asker of ours gives up sooner: on a page of sync or a range of a shard
 * after 30 s, of another blob after 15 s.
 */
const READ_PATIENCE_MS = 10_000;
const MIN_READ_BYTES_PER_SECOND = 48 * 1024;
const REQUEST_RATE: Rate = { perSecond: 200, burst: 1_000 };

export interface ServeInit {
  readonly maxRequestBytes: number;
  /** answer when the peer asks too much or we are busy */
  readonly busy: Uint8Array;
  /** requests per peer. Default 200 a second, 1000 at once */
  readonly rate?: Rate;
}

export interface AskOptions {
  readonly maxAnswerBytes: number;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Answers one request; a thrown MALFORMED or TOO_LARGE is the peer's fault. */
export type Handler = (request: Uint8Array, peer: PeerIdString, signal: AbortSignal) => Promise<Uint8Array>;

export interface Requests {
  serve(protocol: string, handler: Handler, init: ServeInit): Promise<void>;
  /**
   * One request to one peer, connecting to it when need be.
   * @throws {SwarmError} REQUEST_TIMEOUT, PEER_UNREACHABLE, REQUEST_REFUSED (protocol not spoken, banned), STREAM_ENDED,
   *   TOO_LARGE, INTERRUPTED (signal)
   */
  ask(peer: PeerIdString, protocol: string, request: Uint8Array, options: AskOptions): Promise<Uint8Array>;
}

/** Asking and answering over the streams of a host. */
export function createRequests(components: {
  readonly host: Host;
  readonly clock: Clock;
  readonly logger: Logger;
}): Requests {
  const { host } = components;
  const gates = new Map<string, Gate>();
  const idle = createHeldStreams({ maxPerPeer: MAX_STREAMS_PER_PEER, max: MAX_IDLE_STREAMS });
  const answers = createHeldStreams({ maxPerPeer: MAX_STREAMS_PER_PEER, max: MAX_ANSWERS_HELD });
  const served = createCount();

  /** The request of a stream, which is idle until it is here. */
  async function read(stream: Stream, peer: PeerIdString, maxBytes: number): Promise<Uint8Array> {
    idle.enter(peer, stream);
    try {
      return await readFrame(stream, maxBytes, AbortSignal.timeout(REQUEST_TIMEOUT_MS));
    } finally {
      idle.leave(peer, stream);
    }
  }

  /** Works on a request in a place of its own; the stream keeps its other place until the peer has read the answer. */
  async function answerOne(stream: Stream, peer: PeerIdString, request: Uint8Array, handler: Handler): Promise<void> {
    answers.enter(peer, stream);
    try {
      const work = (): Promise<Uint8Array> => handler(request, peer, AbortSignal.timeout(WORK_TIMEOUT_MS));
      await writeAnswer(stream, await served.during(peer, work));
    } finally {
      answers.leave(peer, stream);
    }
  }

  return {
    async serve(protocol, handler, init) {
      const limiter = createRateLimiter(components.clock, init.rate ?? REQUEST_RATE);
      const answer = async (stream: Stream, connection: Connection): Promise<void> => {
        const peer = connection.remotePeer.toString();
        const isInRate = limiter.take(peer);
        try {
          const request = await read(stream, peer, init.maxRequestBytes);
          const isRoom =
            served.total() < MAX_SERVED_AT_ONCE && served.of(peer) < MAX_STREAMS_PER_PEER && answers.hasRoomFor(peer);
          if (isInRate && isRoom) return await answerOne(stream, peer, request, handler);
          host.peers.count(peer, 'requestsRefused');
          await writeAnswer(stream, init.busy);
        } catch (error) {
          onServeError(components, stream, peer, protocol, error);
        }
      };
      await host.libp2p.handle(protocol, answer, { maxInboundStreams: MAX_STREAMS_PER_PEER });
    },
    async ask(peer, protocol, request, options) {
      if (host.standing.isBanned(peer)) throw new SwarmError('REQUEST_REFUSED', `peer ${peer} is banned`, { peer });
      const timeout = AbortSignal.timeout(options.timeoutMs);
      const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
      const name = `${protocol} ${peer}`;
      const gate =
        gates.get(name) ?? createGate(protocol === BLOB_PROTOCOL ? BLOBS_ASKED_AT_ONCE : OTHERS_ASKED_AT_ONCE);
      gates.set(name, gate);
      try {
        await gate.enter(signal);
        try {
          return await askOne(host, peer, protocol, request, options.maxAnswerBytes, signal);
        } finally {
          gate.leave();
        }
      } catch (error) {
        throw askError(error, peer, protocol, timeout, options);
      } finally {
        if (gate.isIdle()) gates.delete(name);
      }
    },
  };
}

async function writeAnswer(stream: Stream, answer: Uint8Array): Promise<void> {
  const readMs = READ_PATIENCE_MS + Math.ceil((answer.length / MIN_READ_BYTES_PER_SECOND) * 1000);
  await writeFrame(stream, answer, AbortSignal.timeout(readMs));
}

function onServeError(
  components: { readonly host: Host; readonly logger: Logger },
  stream: Stream,
  peer: PeerIdString,
  protocol: string,
  error: unknown,
): void {
  stream.abort(error instanceof Error ? error : new Error(errorText(error)));
  if (isSwarmError(error, 'MALFORMED', 'TOO_LARGE')) components.host.standing.penalize(peer, 'malformed request');
  components.logger.debug({ peer, protocol, error: errorText(error) }, 'request not answered');
}

async function askOne(
  host: Host,
  peer: PeerIdString,
  protocol: string,
  request: Uint8Array,
  maxAnswerBytes: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const stream = await host.libp2p.dialProtocol(peerIdFromString(peer), protocol, {
    signal,
    maxOutboundStreams: 2 * MAX_STREAMS_PER_PEER,
  });
  try {
    const [answer] = await Promise.all([
      readFrame(stream, maxAnswerBytes, signal),
      writeFrame(stream, request, signal),
    ]);
    return answer;
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(errorText(error)));
    throw error;
  }
}

/** What went wrong, in our codes. libp2p's errors are told apart by name. */
function askError(
  error: unknown,
  peer: PeerIdString,
  protocol: string,
  timeout: AbortSignal,
  options: AskOptions,
): unknown {
  if (isSwarmError(error)) return error;
  const detail = { peer, protocol };
  if (options.signal?.aborted)
    return new SwarmError('INTERRUPTED', 'the request was given up', detail, { cause: error });
  if (timeout.aborted) {
    const message = `peer ${peer} did not answer within ${options.timeoutMs} ms`;
    return new SwarmError('REQUEST_TIMEOUT', message, { ...detail, timeoutMs: options.timeoutMs }, { cause: error });
  }
  const name = error instanceof Error ? error.name : '';
  if (name === 'UnsupportedProtocolError') {
    return new SwarmError('REQUEST_REFUSED', `peer ${peer} does not speak ${protocol}`, detail, { cause: error });
  }
  if (/^Stream|^UnexpectedEOF|^Muxer|^Connection(Closed|Closing)|^TooManyOutbound/.test(name)) {
    return new SwarmError('STREAM_ENDED', `peer ${peer} ended the stream: ${errorText(error)}`, detail, {
      cause: error,
    });
  }
  return new SwarmError('PEER_UNREACHABLE', `cannot reach peer ${peer}: ${errorText(error)}`, detail, { cause: error });
}

interface Count {
  total(): number;
  of(peer: PeerIdString): number;
  /** counts one of a peer's while the work goes on */
  during<T>(peer: PeerIdString, work: () => Promise<T>): Promise<T>;
}

function createCount(): Count {
  const counts = new Map<PeerIdString, number>();
  const of = (peer: PeerIdString): number => counts.get(peer) ?? 0;
  let total = 0;
  return {
    total: () => total,
    of,
    async during(peer, work) {
      total++;
      counts.set(peer, of(peer) + 1);
      try {
        return await work();
      } finally {
        total--;
        if (of(peer) === 1) counts.delete(peer);
        else counts.set(peer, of(peer) - 1);
      }
    },
  };
}

interface Gate {
  /** waits for a place; throws the signal's reason */
  enter(signal: AbortSignal): Promise<void>;
  leave(): void;
  isIdle(): boolean;
}

/** Lets `places` in at once, the others in order. */
function createGate(places: number): Gate {
  let inside = 0;
  const waiting: (() => void)[] = [];
  return {
    async enter(signal) {
      signal.throwIfAborted();
      if (inside < places) {
        inside++;
        return;
      }
      await new Promise<void>((resolve, reject) => {
        const onAbort = (): void => {
          waiting.splice(waiting.indexOf(go), 1);
          reject(signal.reason);
        };
        const go = (): void => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        };
        signal.addEventListener('abort', onAbort, { once: true });
        waiting.push(go);
      });
    },
    leave() {
      const next = waiting.shift();
      if (next === undefined) inside--;
      else next();
    },
    isIdle: () => inside === 0 && waiting.length === 0,
  };
}

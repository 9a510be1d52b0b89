// Who holds a place while a node answers: work apart from answers that a peer has yet to read. No network.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, type TestContext } from 'node:test';
import type { Host } from '../../../node/network/host.ts';
import { createRequests, type Handler, type Requests } from '../../../node/network/streams.ts';
import { until } from '../../support/until.ts';
import { clock, createTestLogger } from './support.ts';

const [BUSY, DONE] = [Uint8Array.of(0), Uint8Array.of(1)];
const PREFIX_BYTES = 1;

/** A stream whose peer has sent one empty request and reads nothing until it is told to. */
class FakeStream extends EventTarget {
  readonly status = 'open';
  readonly readableEnded = false;
  readonly closed = Promise.withResolvers<void>();
  sent: Uint8Array | null = null;
  isAborted = false;

  override addEventListener(...args: Parameters<EventTarget['addEventListener']>): void {
    super.addEventListener(...args);
    if (args[0] === 'message') super.dispatchEvent(Object.assign(new Event('message'), { data: Uint8Array.of(0) }));
  }

  send(bytes: Uint8Array): void {
    this.sent = bytes;
  }

  async close({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.addEventListener('abort', () => this.closed.reject(signal.reason), { once: true });
    await this.closed.promise;
  }

  abort(): void {
    this.isAborted = true;
    super.dispatchEvent(new Event('close'));
  }

  get answer(): number | undefined {
    return this.sent?.[PREFIX_BYTES];
  }
}

describe('places of requests', () => {
  let onStream: (stream: FakeStream, connection: { readonly remotePeer: string }) => Promise<void>;
  let requests: Requests;
  const open: FakeStream[] = [];

  beforeEach(() => {
    const libp2p = {
      handle: async (_protocol: string, handler: typeof onStream) => {
        onStream = handler;
      },
    };
    const host = { libp2p, peers: { count: () => undefined } } as unknown as Host;
    requests = createRequests({ host, clock, logger: createTestLogger() });
  });

  afterEach(() => {
    for (const stream of open.splice(0)) stream.closed.resolve();
  });

  const serve = (handler: Handler): Promise<void> =>
    requests.serve('/test/1', handler, { maxRequestBytes: 8, busy: BUSY });

  /** Asks as a peer; done when it is answered or the work on it goes on. */
  async function ask(peer: string, times = 1): Promise<FakeStream[]> {
    const streams = Array.from({ length: times }, () => new FakeStream());
    open.push(...streams);
    for (const stream of streams) void onStream(stream, { remotePeer: peer });
    await new Promise((resolve) => setImmediate(resolve));
    return streams;
  }

  const answersOf = (streams: readonly FakeStream[]): (number | undefined)[] => streams.map(({ answer }) => answer);
  const times = <T>(count: number, value: T): T[] => new Array<T>(count).fill(value);

  it('are not held by answers that nobody reads: a crowd may leave all of its own unread', async () => {
    await serve(async () => DONE);
    for (let i = 0; i < 8; i++) assert.deepEqual(answersOf(await ask(`liar ${i}`, 8)), times(8, 1));
    assert.deepEqual(answersOf(await ask('honest')), [1]);
  });

  it('one peer has eight unread answers, and is told to wait with more until it has read one', async () => {
    await serve(async () => DONE);
    const [first] = await ask('peer', 8);
    assert.deepEqual(answersOf(await ask('peer')), [0]);
    first!.closed.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(answersOf(await ask('peer')), [1]);
  });

  it('unread answers of all are bounded: one of the peer with most makes room, the only one of a peer stays', async () => {
    await serve(async () => DONE);
    const liars: FakeStream[] = [];
    for (let i = 0; i < 16; i++) liars.push(...(await ask(`liar ${i}`, 8)));
    const honest: FakeStream[] = [];
    for (let i = 0; i < 112; i++) honest.push(...(await ask(`honest ${i}`)));
    assert.deepEqual(answersOf(honest), times(112, 1));
    assert.equal(liars.filter(({ isAborted }) => isAborted).length, 112);
    assert.deepEqual(answersOf(await ask('one too many')), [0]);
    assert.ok(!honest.some(({ isAborted }) => isAborted));
  });

  it('work that goes on counts as its peer’s, also once its stream had to make room', async () => {
    const work = Promise.withResolvers<Uint8Array>();
    await serve(async (_request, peer) => (peer === 'liar' ? work.promise : DONE));
    const [oldest] = await ask('liar', 8);
    const others: FakeStream[] = [];
    for (let i = 0; i < 15; i++) others.push(...(await ask(`other ${i}`, 8)));
    await ask('honest');
    assert.ok(oldest!.isAborted);
    for (const stream of others) stream.closed.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(answersOf(await ask('liar')), [0]);
    work.resolve(DONE);
  });

  it('an answer that is not read in its time is aborted: 1 MiB has the time that a slow home line takes', async (t) => {
    const patienceMs = hurry(t, 1_000);
    await serve(async (_request, peer) => new Uint8Array(peer === 'large' ? 2 ** 20 : 0));
    const small = await ask('small');
    const smallMs = patienceMs.at(-1)!;
    const large = await ask('large');
    const largeMs = patienceMs.at(-1)!;
    await until(() => [...small, ...large].every(({ isAborted }) => isAborted), 'both are aborted');
    assert.ok(smallMs >= 10_000 && smallMs < 15_000, `${smallMs} ms`);
    assert.ok(largeMs >= 3 * 8_600 && largeMs < 40_000, `${largeMs} ms`);
  });
});

/** Makes all timeouts this many times shorter. @returns what they were to be, in ms */
function hurry(t: TestContext, factor: number): number[] {
  const asked: number[] = [];
  const { timeout } = AbortSignal;
  t.mock.method(AbortSignal, 'timeout', (ms: number) => {
    asked.push(ms);
    return timeout.call(AbortSignal, ms / factor);
  });
  return asked;
}

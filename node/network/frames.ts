// One length-prefixed message (unsigned varint) on a libp2p stream, each way at most once.
// Source: spec/wire.md "Streams"; multiformats unsigned-varint. design.md: `for await` over a stream gives no back-pressure.
// Invariants: at most `maxBytes` and one prefix are held, whatever the peer claims or sends; every wait ends with the signal.

import type { Stream } from '@libp2p/interface';
import { concatBytes } from '../protocol/bytes.ts';
import { SwarmError } from '../protocol/errors.ts';

/** A prefix of 4 bytes counts to 256 MiB, more than any limit of ours. */
const MAX_PREFIX_BYTES = 4;
const FIRST_BUFFER_BYTES = 1024;

/** The unsigned varint of a length. */
export function lengthPrefix(length: number): Uint8Array {
  const bytes: number[] = [];
  let rest = length;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

/**
 * Gathers one prefixed message from chunks of any sizes.
 * @returns a function of the next chunk: the message once it is whole, null before.
 *   It throws {SwarmError} TOO_LARGE, MALFORMED (prefix, bytes after the message)
 */
export function createFrameReader(maxBytes: number): (chunk: Uint8Array) => Uint8Array | null {
  // Bytes are copied into one buffer that grows with what came: a million chunks of one byte are no million objects.
  let buffer = new Uint8Array(FIRST_BUFFER_BYTES);
  let held = 0;
  let start = 0;
  let length = -1;

  function append(chunk: Uint8Array): void {
    if (held + chunk.length > buffer.length) {
      const larger = new Uint8Array(Math.max(held + chunk.length, 2 * buffer.length));
      larger.set(buffer.subarray(0, held));
      buffer = larger;
    }
    buffer.set(chunk, held);
    held += chunk.length;
  }

  function takePrefix(): void {
    let value = 0;
    for (let i = 0; i < Math.min(held, MAX_PREFIX_BYTES) && length < 0; i++) {
      value += (buffer[i]! & 0x7f) * 128 ** i;
      if (buffer[i]! < 0x80) [length, start] = [value, i + 1];
    }
    if (length < 0 && held >= MAX_PREFIX_BYTES) throw new SwarmError('MALFORMED', 'a length prefix is too long');
    if (length > maxBytes) {
      throw new SwarmError('TOO_LARGE', `a message of ${length} bytes was announced, at most ${maxBytes} are read`, {
        bytes: length,
        maxBytes,
      });
    }
  }

  return (chunk) => {
    if (length >= 0 && held + chunk.length - start > length) {
      throw new SwarmError('MALFORMED', 'bytes follow the message');
    }
    append(chunk);
    if (length < 0) takePrefix();
    if (length < 0 || held - start < length) return null;
    if (held - start > length) throw new SwarmError('MALFORMED', 'bytes follow the message');
    return buffer.slice(start, held);
  };
}

/**
 * The one message of a stream.
 * @throws {SwarmError} TOO_LARGE, MALFORMED, STREAM_ENDED; or the signal's reason
 */
export function readFrame(stream: Stream, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const read = createFrameReader(maxBytes);
    const settle = (act: () => void): void => {
      stream.removeEventListener('message', onMessage);
      stream.removeEventListener('end', onEnd);
      stream.removeEventListener('close', onEnd);
      signal.removeEventListener('abort', onAbort);
      act();
    };
    const onMessage = (event: { readonly data: Uint8Array | { subarray(): Uint8Array } }): void => {
      try {
        const message = read(event.data instanceof Uint8Array ? event.data : event.data.subarray());
        if (message !== null) settle(() => resolve(message));
      } catch (error) {
        settle(() => reject(error));
      }
    };
    // Bytes that came before the end may still be on their way to the listener.
    const onEnd = (): void => void setImmediate(() => settle(() => reject(ended())));
    const onAbort = (): void => settle(() => reject(signal.reason));
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    signal.addEventListener('abort', onAbort);
    stream.addEventListener('end', onEnd);
    stream.addEventListener('close', onEnd);
    stream.addEventListener('message', onMessage);
    if (stream.readableEnded || stream.status !== 'open') onEnd();
  });
}

function ended(): SwarmError {
  return new SwarmError('STREAM_ENDED', 'the peer ended the stream before its message was whole');
}

/**
 * Sends one message and closes our end; resolves when it is handed to the transport.
 * @throws the signal's reason, or that the stream ended before
 */
export async function writeFrame(stream: Stream, message: Uint8Array, signal: AbortSignal): Promise<void> {
  // libp2p's close() does not see an abort while it waits: unsent bytes are thrown away, which looks as if they were sent.
  const ended = new AbortController();
  const onClose = (): void =>
    ended.abort(new SwarmError('STREAM_ENDED', 'the stream ended before our message was sent'));
  stream.addEventListener('close', onClose);
  try {
    stream.send(concatBytes(lengthPrefix(message.length), message));
    await stream.close({ signal: AbortSignal.any([signal, ended.signal]) });
  } finally {
    stream.removeEventListener('close', onClose);
  }
}

// The inbox port in memory: signs and opens real envelopes, runs stage zero on what is delivered, and may pass what it
// publishes on to the inboxes of other members of a test's swarm.

import { ACCEPT, type CheckAnswer } from '../../node/protocol/check.ts';
import { openEnvelope, sealEnvelope } from '../../node/protocol/envelope.ts';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import { networkIdOf } from '../../node/protocol/network-id.ts';
import type { Inbox, MessageKind, SignedMessage, StageZero } from '../../node/protocol/ports.ts';

const NETWORK = networkIdOf('test');

export interface MemoryInbox extends Inbox {
  readonly keyPair: KeyPair;
  readonly stageZero: Partial<Record<MessageKind, StageZero>>;
  /** a message of somebody else: stage zero, stored, handed to listeners */
  deliver(message: SignedMessage, scope: string | null): Promise<CheckAnswer>;
  /** signs without publishing */
  sign(kind: MessageKind, payload: Uint8Array): SignedMessage;
  /** what was published, in order */
  readonly published: readonly SignedMessage[];
  /** gets what this inbox publishes */
  readonly others: MemoryInbox[];
  /** called before anything of a publish happens; may throw */
  beforePublish: (kind: MessageKind) => void;
}

interface Stored {
  readonly message: SignedMessage;
  readonly scope: string | null;
}

/** Signs as `keyPair` without an inbox. */
export function signAs(keyPair: KeyPair, kind: MessageKind, payload: Uint8Array): SignedMessage {
  const opened = openEnvelope(sealEnvelope(kind, payload, keyPair, NETWORK), NETWORK);
  if (!opened.ok) throw new Error('a test made an envelope that does not open');
  return opened.message;
}

/** @param disk what survives a restart: give the same array to the next inbox */
export function memoryInbox(keyPair: KeyPair = createKeyPair(), disk: Stored[] = []): MemoryInbox {
  const listeners = new Map<MessageKind, Set<(message: SignedMessage, scope: string | null) => void>>();
  const ignored: Record<string, number> = {};
  const published: SignedMessage[] = [];
  const keep = (message: SignedMessage, scope: string | null): void => {
    disk.push({ message, scope });
    for (const listener of listeners.get(message.kind) ?? []) listener(message, scope);
  };
  const inbox: MemoryInbox = {
    keyPair,
    stageZero: {},
    published,
    others: [],
    beforePublish: () => undefined,
    sign: (kind, payload) => signAs(keyPair, kind, payload),
    async deliver(message, scope) {
      const answer = (await inbox.stageZero[message.kind]?.(message)) ?? ACCEPT;
      if (answer.answer === 'accept') keep(message, scope);
      else ignored[answer.code] = (ignored[answer.code] ?? 0) + 1;
      return answer;
    },
    follow: async () => undefined,
    async publish(kind, payload, scope) {
      inbox.beforePublish(kind);
      const message = signAs(keyPair, kind, payload);
      keep(message, scope);
      published.push(message);
      for (const other of inbox.others) await other.deliver(message, scope);
      return message;
    },
    on(kind, listener) {
      const set = listeners.get(kind) ?? new Set();
      listeners.set(kind, set);
      set.add(listener);
      return () => void set.delete(listener);
    },
    async *stored(kind, scope) {
      for (const each of [...disk]) if (each.message.kind === kind && each.scope === scope) yield each.message;
    },
    async forget({ idHex, peerIdString }) {
      const at = disk.findIndex(({ message }) => message.idHex === idHex && message.peerIdString === peerIdString);
      if (at >= 0) disk.splice(at, 1);
    },
    reconsider: async () => 0,
    ignoredCounts: () => ignored,
  };
  return inbox;
}

// What the network tells its host about: peers that come and go, addresses that do not answer.
// The CLI prints these; `text` is a whole sentence for people.

import { errorText } from '../protocol/errors.ts';
import type { Logger, PeerIdString } from '../protocol/ports.ts';

export type NetworkEvent =
  | { readonly kind: 'connected'; readonly peer: PeerIdString; readonly text: string }
  | { readonly kind: 'disconnected'; readonly peer: PeerIdString; readonly text: string }
  | { readonly kind: 'banned'; readonly peer: PeerIdString; readonly why: string; readonly text: string }
  | { readonly kind: 'joined'; readonly address: string; readonly text: string }
  | {
      readonly kind: 'unreachable';
      readonly address: string;
      /** failures in a row */
      readonly attempt: number;
      readonly retryMs: number;
      readonly reason: string;
      readonly text: string;
    };

export interface Events<T> {
  emit(event: T): void;
  on(listener: (event: T) => void): () => void;
}

/** Listeners called in order; one that throws is logged and the others still hear. */
export function createEvents<T>(components: { readonly logger: Logger }): Events<T> {
  const listeners = new Set<(event: T) => void>();
  return {
    emit(event) {
      for (const listener of listeners) {
        try {
          listener(event);
        } catch (error) {
          components.logger.error({ error: errorText(error) }, 'a listener of network events threw');
        }
      }
    },
    on(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

// Updates: the manifest of a policy again, with another admission or as the recipe's last (spec/wire.md "Enough, not too much").
// Invariants: of each step, root and signer one manifest stays stored, the latest; two roots of one step (evidence) and two
// signers of one root (the author may name either) stay both; nothing here reads a signer's clock against ours.

import { toHex } from '../node/protocol/bytes.ts';
import { errorText } from '../node/protocol/errors.ts';
import type { Manifest } from '../node/protocol/manifest.ts';
import type { Clock, Inbox, Logger, MessageRef, SignedMessage } from '../node/protocol/ports.ts';

/** Updates of one chain that are heard in the long run, and at once. Our own: a trainer says one every 3 s at most. */
const UPDATE_EVERY_MS = 2_000;
const MAX_UPDATES_AT_ONCE = 30;

export interface ManifestUpdates {
  /** whether one more may be heard now; counts it when so */
  mayHear(): boolean;
  /** Of what is stored for its step, root and signer, deletes what is not the latest. */
  keepLatest(message: SignedMessage, manifest: Manifest): void;
}

interface Latest {
  readonly message: MessageRef;
  readonly timeMs: number;
}

/** The updates of one recipe's chain. */
export function createManifestUpdates(
  components: { readonly inbox: Pick<Inbox, 'forget'>; readonly clock: Clock; readonly logger: Logger },
  recipeIdHex: string,
): ManifestUpdates {
  const { inbox, clock, logger } = components;
  const latest = new Map<string, Latest>();
  /** the time that the updates heard so far have used up */
  let usedUntilMs = Number.NEGATIVE_INFINITY;

  return {
    mayHear() {
      const nowMs = clock.nowMs();
      // Our clock was set back: begin anew.
      if (usedUntilMs > nowMs) usedUntilMs = Number.NEGATIVE_INFINITY;
      const fromMs = Math.max(nowMs - MAX_UPDATES_AT_ONCE * UPDATE_EVERY_MS, usedUntilMs);
      if (fromMs + UPDATE_EVERY_MS > nowMs) return false;
      usedUntilMs = fromMs + UPDATE_EVERY_MS;
      return true;
    },
    keepLatest({ kind, idHex, peerIdString }, { policyStep, policyRoot, timeMs }) {
      const place = `${policyStep} ${toHex(policyRoot)} ${peerIdString}`;
      const before = latest.get(place);
      const now: Latest = { message: { kind, idHex, peerIdString }, timeMs };
      if (before?.message.idHex === idHex) return;
      const isLater = before === undefined || before.timeMs < timeMs;
      if (isLater) latest.set(place, now);
      const outdated = isLater ? before : now;
      if (outdated === undefined) return;
      inbox.forget(outdated.message, recipeIdHex).catch((error: unknown) => {
        logger.warn({ policyStep, error: errorText(error) }, 'a manifest that was updated was not deleted');
      });
    },
  };
}

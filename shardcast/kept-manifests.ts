// Which manifests of a recipe are kept, and how many. A trainer is a stranger too: what he signs must not fill disks.
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
/** What a recipe's manifests may take: 4 000 steps of the longest, 500 000 of a small model. Our own. */
const MAX_MANIFEST_BYTES: number = 256 * 2 ** 20;

export interface KeptManifests {
  /** whether one more may be heard now; counts it when so */
  takeUpdate(): boolean;
  /** whether there is room for the manifest of another policy */
  hasRoom(message: SignedMessage): boolean;
  /** Of what is stored for its step, root and signer, deletes what is not the latest. */
  keepLatest(message: SignedMessage, manifest: Manifest): void;
}

interface Latest {
  readonly message: MessageRef;
  readonly timeMs: number;
  readonly bytes: number;
}

/** None at first. @param init `maxBytes`: default MAX_MANIFEST_BYTES */
export function createKeptManifests(
  components: { readonly inbox: Pick<Inbox, 'forget'>; readonly clock: Clock; readonly logger: Logger },
  {
    recipeIdHex,
    maxBytes = MAX_MANIFEST_BYTES,
  }: { readonly recipeIdHex: string; readonly maxBytes?: number | undefined },
): KeptManifests {
  const { inbox, clock, logger } = components;
  let keptBytes = 0;
  let isFull = false;
  const latest = new Map<string, Latest>();
  /** the time that the updates heard so far have used up */
  let usedUntilMs = Number.NEGATIVE_INFINITY;

  return {
    takeUpdate() {
      const nowMs = clock.nowMs();
      // Our clock was set back: begin anew.
      if (usedUntilMs > nowMs) usedUntilMs = Number.NEGATIVE_INFINITY;
      const fromMs = Math.max(nowMs - MAX_UPDATES_AT_ONCE * UPDATE_EVERY_MS, usedUntilMs);
      if (fromMs + UPDATE_EVERY_MS > nowMs) return false;
      usedUntilMs = fromMs + UPDATE_EVERY_MS;
      return true;
    },
    hasRoom({ envelope }) {
      if (keptBytes + envelope.length <= maxBytes) return true;
      if (!isFull)
        logger.warn(
          { recipeId: recipeIdHex, keptBytes },
          'the manifests of a recipe take all that they may: no more are heard',
        );
      isFull = true;
      return false;
    },
    keepLatest({ kind, idHex, peerIdString, envelope }, { policyStep, policyRoot, timeMs }) {
      const place = `${policyStep} ${toHex(policyRoot)} ${peerIdString}`;
      const before = latest.get(place);
      const now: Latest = { message: { kind, idHex, peerIdString }, timeMs, bytes: envelope.length };
      if (before?.message.idHex === idHex) return;
      const isLater = before === undefined || before.timeMs < timeMs;
      if (isLater) {
        latest.set(place, now);
        keptBytes += now.bytes - (before?.bytes ?? 0);
      }
      const outdated = isLater ? before : now;
      if (outdated === undefined) return;
      inbox.forget(outdated.message, recipeIdHex).catch((error: unknown) => {
        logger.warn({ policyStep, error: errorText(error) }, 'a manifest that was updated was not deleted');
      });
    },
  };
}

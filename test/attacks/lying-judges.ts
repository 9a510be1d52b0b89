// Verifiers that look at nothing: one accepts every group it hears of as replayed whole, one rejects every one with made-up evidence.
// Both commit to a secret for each step, as a verifier does, so that nothing but being wrong betrays them.

import type { Participant } from '../../node/cli/participant.ts';
import { sha256 } from '../../node/protocol/bytes.ts';
import { decodeGroup, type GroupAnnouncement } from '../../node/protocol/group.ts';
import type { SignedMessage } from '../../node/protocol/ports.ts';
import { encodeSecret } from '../../node/protocol/secret.ts';
import { encodeVerdict, type Verdict } from '../../node/protocol/verdict.ts';
import type { ResolvedRecipe } from '../../recipes/resolve.ts';
import { limitsOf } from '../../verifier/checks/subject.ts';

/** What is said of a group without a look. */
export type Judgement = (
  group: GroupAnnouncement,
) => Pick<Verdict, 'answer' | 'code' | 'sequencesReplayed' | 'evidence'>;

export const JUDGEMENTS: Readonly<Record<string, Judgement>> = {
  acceptAll: ({ lengths }) => ({ answer: 'accept', code: null, sequencesReplayed: lengths.length }),
  rejectAll: () => ({
    answer: 'reject',
    code: 'REPLAY_MISMATCH',
    sequencesReplayed: 1,
    evidence: { sequence: 0, position: 0, u: 0.5, x: 0.6, y: 0.7, limit: 1e-4 },
  }),
};

/** Judges all groups of a recipe, those that were there before and those that come. */
export async function startJudge(
  { inbox, keyPair }: Participant,
  recipe: ResolvedRecipe,
  judgement: Judgement,
): Promise<void> {
  const { recipeId, recipeIdHex } = recipe;
  const secretOf = (policyStep: number): Uint8Array => sha256(`${keyPair.peerIdString} ${policyStep}`);
  const committed = new Map<number, Promise<unknown>>();
  const commit = (policyStep: number): Promise<unknown> => {
    const secret = { recipeId, policyStep, secretHash: sha256(secretOf(policyStep)), secret: null };
    const done = committed.get(policyStep) ?? inbox.publish('secret', encodeSecret(secret), recipeIdHex);
    committed.set(policyStep, done);
    return done;
  };
  const judge = async (message: SignedMessage): Promise<void> => {
    const group = decodeGroup(message.payload);
    const { policyStep, peerId, slot } = group;
    await commit(policyStep);
    const verdict: Verdict = {
      ...{ recipeId, policyStep, peerId, slot, groupId: message.id },
      ...judgement(group),
      limits: limitsOf(recipe),
      secretHash: sha256(secretOf(policyStep)),
    };
    await inbox.publish('verdict', encodeVerdict(verdict), recipeIdHex);
  };
  inbox.on('group', (message, scope) => (scope === recipeIdHex ? void judge(message) : undefined));
  for await (const message of inbox.stored('group', recipeIdHex)) await judge(message);
}

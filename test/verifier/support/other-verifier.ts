// Another verifier as a running one hears it: commitments, secrets and verdicts under a key of its own, true or not.

import { sha256 } from '../../../node/protocol/bytes.ts';
import type { CheckCode, Evidence } from '../../../node/protocol/check.ts';
import { createKeyPair, type KeyPair } from '../../../node/protocol/keys.ts';
import type { SignedMessage } from '../../../node/protocol/ports.ts';
import { encodeSecret } from '../../../node/protocol/secret.ts';
import { encodeVerdict } from '../../../node/protocol/verdict.ts';
import { limitsOf } from '../../../verifier/checks/subject.ts';
import type { VerifierStanding } from '../../../verifier/verifier-standing.ts';
import { signAs } from '../../support/memory-inbox.ts';
import type { Running } from './running.ts';
import type { MadeGroup } from './swarm.ts';

export interface OtherVerifier {
  readonly keyPair: KeyPair;
  /** the secret of a step, the same each time */
  secretOf(policyStep: number): Uint8Array;
  commit(policyStep: number): Promise<void>;
  show(policyStep: number): Promise<void>;
  accept(group: MadeGroup, sequencesReplayed?: number): Promise<SignedMessage>;
  reject(group: MadeGroup, code: CheckCode, evidence?: Evidence): Promise<SignedMessage>;
  standing(): VerifierStanding;
  isSilenced(): boolean;
}

/** @param running who hears it */
export function otherVerifier(running: Running, keyPair: KeyPair = createKeyPair()): OtherVerifier {
  const { inbox, context, verifier, chain } = running;
  const { recipeId, recipeIdHex } = context.recipe;
  const secretOf = (policyStep: number): Uint8Array => sha256(`${keyPair.peerIdString} ${policyStep}`);
  const tell = async (policyStep: number, isShown: boolean): Promise<void> => {
    const secret = secretOf(policyStep);
    const payload = { recipeId, policyStep, secretHash: sha256(secret), secret: isShown ? secret : null };
    await inbox.deliver(signAs(keyPair, 'secret', encodeSecret(payload)), recipeIdHex);
  };
  const judge = async (
    { message, announcement }: MadeGroup,
    said: { readonly code: CheckCode | null; readonly evidence?: Evidence; readonly sequencesReplayed: number },
  ): Promise<SignedMessage> => {
    const { policyStep, slot, peerId } = announcement;
    const payload = encodeVerdict({
      ...{ recipeId, policyStep, groupId: message.id, peerId, slot },
      answer: said.code === null ? 'accept' : 'reject',
      ...said,
      limits: limitsOf(context.recipe),
      secretHash: sha256(secretOf(policyStep)),
    });
    const verdict = signAs(keyPair, 'verdict', payload);
    await inbox.deliver(verdict, recipeIdHex);
    return verdict;
  };
  return {
    keyPair,
    secretOf,
    commit: (policyStep) => tell(policyStep, false),
    show: (policyStep) => tell(policyStep, true),
    accept: (group, sequencesReplayed = group.announcement.lengths.length) =>
      judge(group, { code: null, sequencesReplayed }),
    reject: (group, code, evidence) =>
      judge(group, { code, sequencesReplayed: 1, ...(evidence === undefined ? {} : { evidence }) }),
    standing: () => verifier.verifiers.of(keyPair.peerIdString),
    isSilenced: () => verifier.verifiers.isSilenced(keyPair.peerIdString, chain.announced()!.policyStep),
  };
}

// The verifier of one recipe inside a role, and what a role tells of its verifiers: rejections, quarantines, standing.

import type { ReplayChecker } from '../../../verifier/checker.ts';
import { createVerifier, type Verifier } from '../../../verifier/service.ts';
import { parseModelConfig } from '../../model/config.ts';
import type { SharedEngine } from '../../model/engine/shared.ts';
import { toHex } from '../../protocol/bytes.ts';
import type { Evidence } from '../../protocol/check.ts';
import { SwarmError } from '../../protocol/errors.ts';
import { peerIdStringOf } from '../../protocol/keys.ts';
import { decodeVerdict } from '../../protocol/verdict.ts';
import type { Row } from '../inspector.ts';
import type { FollowedRecipe } from '../participant.ts';
import { systemClock, systemRandom } from '../system.ts';
import { cell } from '../table.ts';
import type { RoleContext } from './role.ts';
import { waitForTokenizer } from './tokenizer.ts';

/** What the verifiers of one process share. */
export interface VerifierWorkers {
  readonly engine: SharedEngine;
  readonly checker: ReplayChecker;
}

/** Starts the verifier of one recipe, with policies of its own in the engine, and tells its rejections and quarantines. */
export async function startVerifier(
  context: RoleContext,
  workers: VerifierWorkers,
  followed: FollowedRecipe,
): Promise<Verifier> {
  const { participant, signal } = context;
  const tokenizer = await waitForTokenizer(followed, signal);
  const ready = followed.chain.ready();
  const files = ready === null ? null : await followed.chain.files(ready.policyRoot);
  if (files === null)
    throw new SwarmError('POLICY_NOT_LOADED', 'the policy went away while the verifier started; it is tried again');
  const config = parseModelConfig(JSON.parse(files.configJson));
  const recipe = followed.known.resolved;
  const engine = workers.engine.user();
  const verifier = createVerifier(
    {
      inbox: participant.inbox,
      blobs: participant.fetcher,
      store: participant.store.blobs,
      chain: followed.chain,
      engine,
      checker: workers.checker,
      records: participant.store.records(`verifier-${recipe.recipeIdHex}`),
      clock: systemClock,
      random: systemRandom,
      logger: participant.logger,
      tokenizer,
    },
    {
      recipe,
      peerId: participant.keyPair.peerIdString,
      modelVocabulary: config.vocabSize,
      hiddenSize: config.hiddenSize,
    },
  );
  context.onStop(tellRejections(context, verifier, recipe.recipeIdHex));
  await verifier.start();
  return {
    ...verifier,
    async stop() {
      await verifier.stop();
      // At the end of the role the engine closes with all its policies.
      if (!signal.aborted) await engine.close();
    },
  };
}

/** After a verdict, until the standing that follows from it is known. */
const SETTLED_MS = 250;

/** Tells what a verifier rejects, and whom it puts in quarantine. */
export function tellRejections(
  context: Pick<RoleContext, 'participant' | 'emit'>,
  { standing }: Pick<Verifier, 'standing'>,
  recipeIdHex: string,
): () => void {
  const { participant, emit } = context;
  /** quarantines told a moment ago, which the next rejection may not have seen when it came: peer to step */
  const told = new Map<string, number>();
  return participant.inbox.on('verdict', (message, scope) => {
    if (scope !== recipeIdHex || message.peerIdString !== participant.keyPair.peerIdString) return;
    const verdict = decodeVerdict(message.payload);
    if (verdict.answer !== 'reject') return;
    const peerId = peerIdStringOf(verdict.peerId);
    const before = standing.judged(peerId);
    emit({
      event: 'rejected',
      peerId,
      groupId: toHex(verdict.groupId),
      slot: verdict.slot,
      policyStep: verdict.policyStep,
      code: verdict.code ?? 'INTERNAL',
      why: describeEvidence(verdict.evidence),
      judgedOfPeer: before.groups + 1,
    });
    // Standing is settled with the verdict; look at it once this event has been told.
    setTimeout(() => {
      const { groups, quarantinedUntilStep: untilStep } = standing.judged(peerId);
      if (untilStep === null || untilStep === before.quarantinedUntilStep || untilStep === told.get(peerId)) return;
      emit({ event: 'quarantined', peerId, untilStep, judgedOfPeer: groups });
      told.set(peerId, untilStep);
      setTimeout(() => told.delete(peerId), SETTLED_MS).unref();
    }, SETTLED_MS).unref();
  });
}

function describeEvidence(evidence: Evidence | undefined): string {
  if (evidence === undefined) return 'no numbers apply';
  const { note, ...numbers } = evidence;
  return note === undefined ? cell(numbers) : `${cell(numbers)} (${note})`.trimStart();
}

/** A row a recipe for `murmur status`. */
export function shownVerifiers(verifiers: ReadonlyMap<string, Verifier>): Row[] {
  return [...verifiers].map(([recipeId, verifier]) => {
    return { recipeId, ...verifier.figures(), othersRejections: verifier.doubts() };
  });
}

/** Standing by peer, as one who makes groups and as one who judges them, over all recipes that are verified here. */
export function standingRows(verifiers: ReadonlyMap<string, Verifier>): ReadonlyMap<string, Row> {
  const rows = new Map<string, Row>();
  for (const verifier of verifiers.values()) {
    for (const { peer, ...standing } of verifier.standing.all()) rows.set(peer, { ...standing });
  }
  for (const verifier of verifiers.values()) {
    for (const { verifier: peer, ...asVerifier } of verifier.verifiers.all()) {
      rows.set(peer, { ...rows.get(peer), asVerifier });
    }
  }
  return rows;
}

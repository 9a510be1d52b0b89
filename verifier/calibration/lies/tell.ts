// Tells one lie about assigned groups. A model lie runs on the liar's policy, the others on the true one.
// Invariant: `lied` marks exactly the sequences that were not drawn as assigned; of a lie about model or sampling, all.

import { sha256 } from '../../../node/protocol/bytes.ts';
import type { GeneratedSequence, GenerateRequest, SamplingSettings } from '../../../node/protocol/ports.ts';
import { tokenCount } from '../../checks/subject.ts';
import { type Assigned, generate, honestSampling, rewardOf, type Setting, type Told, type Truth } from '../groups.ts';
import type { Lie } from './lies.ts';

/** How a liar runs its model. */
export interface LyingRun {
  /** hex: the liar's, or the true one */
  readonly policyRoot: string;
  readonly sampling: SamplingSettings;
}

/** @param modelRoot hex, where a model lie was loaded */
export function lyingRun(lie: Lie, truth: Truth, modelRoot: string): LyingRun {
  const asked = honestSampling(truth);
  return {
    policyRoot: lie.kind === 'model' ? modelRoot : truth.policyRoot,
    sampling: lie.kind === 'sampling' ? { ...asked, ...lie.change(asked) } : asked,
  };
}

function otherSeeds({ prompt, sequenceSeeds }: GenerateRequest): GenerateRequest {
  return { prompt, sequenceSeeds: sequenceSeeds.map((seed) => sha256(seed, 'another')) };
}

/** The sequence with one token in its middle, never the end, replaced by the next one that does not end it. */
function edited(sequence: GeneratedSequence, sampling: SamplingSettings): GeneratedSequence {
  const middle = (sequence.tokens.length - 1) >> 1;
  let token = sequence.tokens[middle]!;
  do token = (token + 1) % sampling.tokenCount;
  while (sampling.endTokens.includes(token));
  // Cut off by its length, a sequence of one token may end with what is edited; then it still ends by its length.
  return { ...sequence, tokens: sequence.tokens.with(middle, token) };
}

export async function tell(
  lie: Lie,
  truth: Truth,
  { policyRoot, sampling }: LyingRun,
  setting: Setting,
  assigned: readonly Assigned[],
  signal?: AbortSignal,
): Promise<Told[]> {
  const requests = assigned.map(({ request }) => (lie.kind === 'other-seed' ? otherSeeds(request) : request));
  const made = await generate(setting, policyRoot, sampling, requests, signal);
  const all = (sequences: readonly GeneratedSequence[], of: Assigned): Told => ({
    assigned: of,
    sequences,
    lied: sequences.map(() => true),
  });
  if (lie.kind === 'best-of-two') {
    const second = await generate(setting, policyRoot, sampling, requests.map(otherSeeds), signal);
    return assigned.map((of, g) => better(truth, of, made[g]!, second[g]!));
  }
  if (lie.kind === 'edited-token') {
    const settings = { ...sampling, tokenCount: tokenCount(truth.context) };
    return assigned.map((of, g) => ({
      assigned: of,
      sequences: made[g]!.map((each, i) => (i === 0 && canEdit(each) ? edited(each, settings) : each)),
      lied: made[g]!.map((each, i) => i === 0 && canEdit(each)),
    }));
  }
  return assigned.map((of, g) => all(made[g]!, of));
}

/** An end alone leaves nothing to edit. */
function canEdit({ tokens, finish }: GeneratedSequence): boolean {
  return tokens.length > 1 || finish === 'length';
}

/** Of each sequence's two tries the one with the higher reward, the first of equals. */
function better(
  { context }: Truth,
  assigned: Assigned,
  first: readonly GeneratedSequence[],
  second: readonly GeneratedSequence[],
): Told {
  const lied = first.map((each, i) => rewardOf(context, assigned, second[i]!) > rewardOf(context, assigned, each));
  return { assigned, sequences: first.map((each, i) => (lied[i] ? second[i]! : each)), lied };
}

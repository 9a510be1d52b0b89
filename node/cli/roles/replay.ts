// `murmur replay`: the body through stage 1, the named sequence (or all) through the policy, and what is found beside what was said.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readBody } from '../../../verifier/checks/body-bytes.ts';
import { checkBody } from '../../../verifier/checks/stage-one.ts';
import { type BodyContext, limitsOf, replaySubject, samplingOf } from '../../../verifier/checks/subject.ts';
import { graver } from '../../../verifier/checks/two-sided.ts';
import { agreesWith, type SequenceEvidence, sequenceEvidence } from '../../../verifier/evidence.ts';
import { type Claim, claimOf } from '../../../verifier/recheck.ts';
import { parseModelConfig } from '../../model/config.ts';
import { createPolicyEngine } from '../../model/engine/engine.ts';
import { loadTokenizer, type Tokenizer } from '../../model/tokenizer.ts';
import { weightsFileOf } from '../../model/weight-files.ts';
import type { GroupBody } from '../../protocol/body.ts';
import { toHex } from '../../protocol/bytes.ts';
import type { CheckAnswer } from '../../protocol/check.ts';
import { SwarmError } from '../../protocol/errors.ts';
import type { PolicyFiles } from '../../protocol/ports.ts';
import type { Verdict } from '../../protocol/verdict.ts';
import type { ReplayOptions } from '../commands/replay.ts';
import { choosePlacement } from '../compute.ts';
import { EXIT_FAILED, EXIT_OK } from '../exit-codes.ts';
import { type ReplayMaterial, withReplayMaterial } from '../replay-material.ts';
import { type ReplayReport, renderReplay } from '../replay-report.ts';

/** Sequences in one call of the engine. */
const SEQUENCES_A_CALL = 64;

export async function runReplay(groupId: string, options: ReplayOptions): Promise<number> {
  if (!/^[0-9a-f]{1,64}$/.test(groupId)) {
    throw new SwarmError(
      'USAGE',
      `"${groupId}" is no group id; murmur rollouts shows them (hex, a beginning is enough)`,
    );
  }
  const report = await withReplayMaterial(groupId, options, (material) => replayGroup(material, options));
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : renderReplay(report));
  return report.agrees === false ? EXIT_FAILED : EXIT_OK;
}

interface Said {
  readonly by: string;
  readonly verdict: Verdict;
}

async function replayGroup(material: ReplayMaterial, options: ReplayOptions): Promise<ReplayReport> {
  const { announcement, recipe, policyFolder } = material;
  const configJson = await readFile(join(policyFolder, 'config.json'), 'utf8');
  const config = parseModelConfig(JSON.parse(configJson));
  const tokenizer = await loadTokenizer(policyFolder, config.vocabSize);
  const { vocabSize: modelVocabulary, hiddenSize } = config;
  const context: BodyContext = { recipe, tokenizer, modelVocabulary, hiddenSize };
  const said = chosenVerdict(material, options.by);
  const claim = said === null ? 'elsewhere' : claimOf(said.verdict, announcement.lengths.length);
  const body = readBody(announcement, material.body);
  const bodyAnswer = 'answer' in body ? body : checkBody(context, announcement, body);
  const due = 'answer' in body || bodyAnswer.answer !== 'accept' ? [] : dueSequences(claim, body, said, options);
  const policyRoot = toHex(announcement.policyRoot);
  const files = { policyRoot, configJson, weightsFile: await weightsFileOf(policyFolder) };
  const sequences =
    'answer' in body || due.length === 0
      ? []
      : (await replaySequences(context, files, { announcement, body, due }, options)).map((each) => ({
          ...each,
          texts: textsOf(tokenizer, each),
        }));
  const answer = sequences.reduce<CheckAnswer>((found, each) => graver(found, each.answer), bodyAnswer);
  return reportOf(material, {
    said,
    claim,
    bodyAnswer,
    sequences,
    answer,
    isWhole: due.length === announcement.lengths.length,
  });
}

/** The newest rejection, else the newest of another kind; or the newest word of the verifier that was asked for. */
function chosenVerdict({ verdicts, groupId }: ReplayMaterial, by: string | undefined): Said | null {
  if (by === undefined) {
    const newest = (answer: Verdict['answer']): Said | undefined =>
      verdicts.findLast(({ verdict }) => verdict.answer === answer);
    return newest('reject') ?? newest('accept') ?? newest('ignore') ?? null;
  }
  const said = verdicts.findLast((each) => each.by.endsWith(by));
  if (said !== undefined) return said;
  const known = [...new Set(verdicts.map((each) => `…${each.by.slice(-8)}`))].join(', ') || 'nobody';
  throw new SwarmError(
    'NOT_FOUND',
    `no verdict of ${by} on group ${groupId.slice(0, 12)} is known here; it was judged by: ${known}`,
    {
      groupId,
      by,
    },
  );
}

/** A rejection that names a sequence needs that one; one by the body alone needs none; anything else is looked at whole. */
function dueSequences(claim: Claim, body: GroupBody, said: Said | null, { whole }: ReplayOptions): readonly number[] {
  const all = body.sequences.map((_, i) => i);
  if (whole || said?.verdict.answer !== 'reject') return all;
  if (typeof claim === 'number') return [claim];
  return claim === 'body' ? [] : all;
}

async function replaySequences(
  context: BodyContext,
  files: PolicyFiles,
  group: Pick<ReplayMaterial, 'announcement'> & { readonly body: GroupBody; readonly due: readonly number[] },
  options: ReplayOptions,
): Promise<readonly SequenceEvidence[]> {
  const { announcement, body, due } = group;
  const engine = createPolicyEngine({ ...(await choosePlacement(options, 'alone')), memoryBytes: options.memory });
  try {
    await engine.load(files);
    const found: SequenceEvidence[] = [];
    for (let at = 0; at < due.length; at += SEQUENCES_A_CALL) {
      const part = due.slice(at, at + SEQUENCES_A_CALL);
      // Copies: the engine may move what it is given to its thread.
      const requests = part.map((i) => ({ prompt: body.prompt.slice(), tokens: body.sequences[i]!.tokens.slice() }));
      const replayed = await engine.replay(files.policyRoot, samplingOf(context), requests);
      found.push(...part.map((i, k) => sequenceEvidence(replaySubject(context, announcement, body, i, replayed[k]!))));
    }
    return found;
  } finally {
    await engine.close();
  }
}

function textsOf(tokenizer: Tokenizer, { draws }: SequenceEvidence): readonly string[] {
  return draws.map(({ token }) => tokenizer.decode([token]));
}

interface Findings {
  readonly said: Said | null;
  readonly claim: Claim;
  readonly bodyAnswer: CheckAnswer;
  readonly sequences: readonly (SequenceEvidence & { readonly texts: readonly string[] })[];
  readonly answer: CheckAnswer;
  readonly isWhole: boolean;
}

function reportOf(material: ReplayMaterial, findings: Findings): ReplayReport {
  const { groupId, peer, announcement, recipe, verdicts } = material;
  const { said, claim, bodyAnswer, sequences, answer, isWhole } = findings;
  // What rests on more than the group is not answered by the group.
  const isAnswerable = said?.verdict.answer !== 'reject' || claim !== 'elsewhere' || answer.answer === 'reject';
  return {
    groupId,
    peer,
    recipe: recipe.recipe.name,
    recipeId: recipe.recipeIdHex,
    policyStep: announcement.policyStep,
    policyRoot: toHex(announcement.policyRoot),
    slot: announcement.slot,
    verdicts: verdicts.length,
    verdict:
      said === null
        ? null
        : {
            by: said.by,
            answer: said.verdict.answer,
            code: said.verdict.code,
            evidence: said.verdict.evidence ?? null,
            sequencesReplayed: said.verdict.sequencesReplayed,
          },
    limits: limitsOf(recipe),
    body: bodyAnswer,
    isWhole,
    sequences,
    answer,
    agrees: isAnswerable ? agreesWith(said?.verdict.answer ?? null, answer) : null,
  };
}

// What `murmur replay` found, as JSON has it and as a person reads it.

import { LIMIT_OF, MEASURES, type MeasureName } from '../../verifier/calibration/measure.ts';
import type { DrawEvidence, SequenceEvidence } from '../../verifier/evidence.ts';
import type { CheckAnswer, CheckCode, Evidence } from '../protocol/check.ts';
import type { Verdict, VerificationLimits } from '../protocol/verdict.ts';
import type { Row } from './inspector.ts';
import { cell, table, tree } from './table.ts';

export interface ReplayReport {
  readonly groupId: string;
  readonly peer: string;
  readonly recipe: string;
  readonly recipeId: string;
  readonly policyStep: number;
  readonly policyRoot: string;
  readonly slot: number;
  /** known here, of anybody */
  readonly verdicts: number;
  /** the one that was repeated; null when nobody has judged the group */
  readonly verdict: {
    readonly by: string;
    readonly answer: Verdict['answer'];
    readonly code: CheckCode | null;
    readonly evidence: Evidence | null;
    readonly sequencesReplayed: number;
  } | null;
  /** the recipe's */
  readonly limits: VerificationLimits;
  /** stage 1 */
  readonly body: CheckAnswer;
  /** every sequence was replayed */
  readonly isWhole: boolean;
  /** stage 2 of those that were replayed; `texts` of the tokens, one each */
  readonly sequences: readonly (SequenceEvidence & { readonly texts: readonly string[] })[];
  /** the gravest of all */
  readonly answer: CheckAnswer;
  /** null: neither can be said */
  readonly agrees: boolean | null;
}

/** Tokens shown before a mismatch. */
const BEFORE = 8;

const TITLES: Readonly<Record<MeasureName, string>> = {
  logitMove: 'draw off by',
  largestDrift: 'log-prob drift',
  meanDrift: 'mean drift',
  exponentMismatches: 'exponents',
  mantissaErrorMean: 'mantissa mean',
  mantissaErrorMedian: 'mantissa median',
};

/** Plain text for a terminal. */
export function renderReplay(report: ReplayReport): string {
  const { groupId, peer, recipe, policyStep, policyRoot, slot, verdict, verdicts, body, sequences } = report;
  const head = tree({
    group: groupId,
    of: `${cell(peer)}, slot ${slot} at policy step ${policyStep} (${policyRoot.slice(0, 12)}) of ${recipe}`,
    verdict: verdict === null ? 'nobody has judged it' : `${answerText(verdict)}, by ${cell(verdict.by)}`,
    others: verdicts > 1 ? `${verdicts - 1} more on it known here (--by names the verifier)` : undefined,
    body: `${answerText(body)} (prompt, rewards, finish reasons, proofs' shape; no model)`,
  });
  const parts = [head];
  if (sequences.length > 0) parts.push(`replayed here, with the recipe's limits\n${measuresTable(report)}`);
  for (const each of sequences) if (each.firstMismatch !== null) parts.push(mismatchText(each, each.firstMismatch));
  parts.push(`${conclusion(report)}\n`);
  return parts.join('\n');
}

function answerText(said: {
  readonly answer: string;
  readonly code?: string | null;
  readonly evidence?: object | null;
}): string {
  const { answer, code, evidence } = said;
  const name = code == null ? answer : `${answer} ${code}`;
  return evidence == null ? name : `${name} (${evidenceText(evidence)})`;
}

/** With more digits than a table's cell: limits are small. */
function evidenceText(evidence: object): string {
  const shown = (value: unknown): string =>
    typeof value === 'number' && !Number.isInteger(value) ? value.toPrecision(5) : String(value);
  return Object.entries(evidence)
    .map(([name, value]) => `${name} ${shown(value)}`)
    .join(', ');
}

function measuresTable({ sequences, limits }: ReplayReport): string {
  const row = (sequence: string, rest: Row, figureOf: (name: MeasureName) => number): Row => ({
    sequence,
    ...rest,
    ...Object.fromEntries(MEASURES.map((name) => [TITLES[name], short(figureOf(name))])),
  });
  const rows = sequences.map(({ sequence, draws, answer, softMisses, measures }) =>
    row(
      String(sequence),
      {
        tokens: draws.length,
        answer: answer.answer === 'accept' ? 'accept' : `${answer.answer} ${answer.code}`,
        'soft misses': softMisses,
      },
      (name) => measures[name],
    ),
  );
  rows.push(row('limit', { tokens: null, answer: null, 'soft misses': null }, (name) => limits[LIMIT_OF[name]]));
  return table(rows, '');
}

/** Few digits, whatever the size. */
function short(value: number): string {
  if (!Number.isFinite(value)) return '∞';
  return Number.isInteger(value) ? String(value) : value.toPrecision(2);
}

/** The tokens before the first mismatch, and it. */
function mismatchText({ sequence, draws, texts }: ReplayReport['sequences'][number], mismatch: DrawEvidence): string {
  const { position, u, x, y, fit } = mismatch;
  const from = Math.max(0, position - BEFORE);
  const rows = draws.slice(from, position + 1).map((draw) => ({
    position: draw.position,
    token: JSON.stringify(texts[draw.position]),
    id: draw.token,
    u: draw.u.toFixed(6),
    'its interval': `[${draw.x.toFixed(6)}, ${draw.y.toFixed(6)})`,
    fit: draw.fit,
    claimed: draw.claimedLogprob.toFixed(4),
    recomputed: draw.logprob.toFixed(4),
  }));
  const isCut = !(y > x);
  const why = isCut
    ? 'the recipe’s cut leaves no room for this token'
    : `u ${u.toFixed(6)} lies outside its interval [${x.toFixed(6)}, ${y.toFixed(6)}): this policy draws another token`;
  const what = `first mismatch: sequence ${sequence}, position ${position}, token ${JSON.stringify(texts[position])}: ${why}`;
  return `${table(rows, '')}${what}${fit === 'borderline' ? ' (between the limit and twice the limit)' : ''}\n`;
}

function conclusion({ verdict, answer, agrees, isWhole }: ReplayReport): string {
  const found = answerText(answer);
  if (verdict === null) return `found here: ${found}`;
  if (agrees === true) return `agreement: the verdict is found here too: ${found}`;
  if (agrees === false) return `NO agreement: the verdict says ${verdict.answer}, found here: ${found}`;
  if (verdict.answer === 'reject' && answer.answer === 'accept') {
    return `neither: ${verdict.code} rests on more than this group, whose ${isWhole ? 'every sequence' : 'named sequence'} is right here`;
  }
  return `neither: found here: ${found}`;
}

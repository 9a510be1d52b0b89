// What `murmur replay` found, as JSON has it and as a person reads it.

import { LIMIT_OF, MEASURES, type MeasureName } from '../../verifier/checks/measure.ts';
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
  /** null: it cannot be decided */
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
  for (const each of sequences) {
    const drift = each.firstMismatch === null ? driftAt(each.answer) : null;
    if (each.firstMismatch !== null) parts.push(mismatchText(each, each.firstMismatch));
    if (drift !== null) parts.push(driftText(each, drift));
  }
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

/** The tokens up to a position, the last few of them. */
function drawsTable({ draws, texts }: ReplayReport['sequences'][number], position: number): string {
  const rows = draws.slice(Math.max(0, position - BEFORE), position + 1).map((draw) => ({
    position: draw.position,
    token: JSON.stringify(texts[draw.position]),
    id: draw.token,
    u: draw.u.toFixed(6),
    'its interval': `[${draw.x.toFixed(6)}, ${draw.y.toFixed(6)})`,
    fit: draw.fit,
    claimed: draw.claimedLogprob.toFixed(4),
    recomputed: draw.logprob.toFixed(4),
  }));
  return table(rows, '');
}

/** The first token that its uniform number does not draw, and those before it. */
function mismatchText(found: ReplayReport['sequences'][number], { position, u, x, y, fit }: DrawEvidence): string {
  const why =
    y > x
      ? `u ${u.toFixed(6)} lies outside its interval [${x.toFixed(6)}, ${y.toFixed(6)}): this policy draws another token`
      : 'the recipe’s cut leaves no room for this token';
  const token = JSON.stringify(found.texts[position]);
  const note = fit === 'borderline' ? ' (between the limit and twice the limit)' : '';
  return `${drawsTable(found, position)}first mismatch: sequence ${found.sequence}, position ${position}, token ${token}: ${why}${note}\n`;
}

/** Where the claims are furthest off, when that is what was found. */
function driftAt(answer: CheckAnswer): number | null {
  if (answer.answer === 'accept') return null;
  const { position, note } = answer.evidence ?? {};
  return note === 'largest' ? (position ?? null) : null;
}

function driftText(found: ReplayReport['sequences'][number], position: number): string {
  const { claimedLogprob, logprob } = found.draws[position]!;
  const token = JSON.stringify(found.texts[position]);
  const how = `claimed log-prob ${claimedLogprob.toFixed(6)}, recomputed ${logprob.toFixed(6)}`;
  return `${drawsTable(found, position)}largest drift: sequence ${found.sequence}, position ${position}, token ${token}: ${how}\n`;
}

function conclusion({ verdict, answer, agrees, isWhole }: ReplayReport): string {
  const found = answerText(answer);
  if (verdict === null) return `found here: ${found}`;
  if (agrees === true) return `agreement: the verdict is found here too: ${found}`;
  if (agrees === false) return `NO agreement: the verdict says ${verdict.answer}, found here: ${found}`;
  if (verdict.answer === 'reject' && answer.answer === 'accept') {
    return `undecided: ${verdict.code} rests on more than this group, whose ${isWhole ? 'every sequence' : 'named sequence'} is right here`;
  }
  return `undecided: found here: ${found}`;
}

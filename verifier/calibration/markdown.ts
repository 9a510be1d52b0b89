// The calibration report for people: one page of tables, the open ends said in words.

import type { Share } from './clopper-pearson.ts';
import { MARGIN } from './limits.ts';
import type { LieResult } from './lying.ts';
import { type CalibrationReport, CHECK_TITLES, caught, caughtAlone } from './report.ts';
import { CHECKS } from './tally.ts';
import type { Detection } from './theory.ts';

/** 0.9987 → '99.87 %'; of small shares the digits that say something. */
function percent(value: number): string {
  const shown = 100 * value;
  if (shown === 0 || shown === 100) return `${shown} %`;
  if (shown < 0.1) return `${shown.toPrecision(2)} %`;
  return `${shown > 99 ? shown.toFixed(2) : shown.toFixed(1)} %`;
}

/** '99.87 % (99.7 – 99.9)' */
function bounded({ count, of, low, high }: Share): string {
  return of === 0 ? '–' : `${percent(count / of)} (${percent(low)} – ${percent(high)})`;
}

function number(value: number): string {
  if (!Number.isFinite(value)) return '∞';
  if (value === 0) return '0';
  return Math.abs(value) < 0.01 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

/** Thousands apart, so that counts can be read. */
function count(value: number): string {
  return value.toLocaleString('en-US');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('');
}

function limitsSection({ result }: CalibrationReport): string {
  const { groups, sequences, tokens } = result.calibratedOn;
  const rows = result.limits.map(({ limit, was, found, honestLargest, why }) => [
    `\`${limit}\``,
    number(was),
    found === was ? 'the same' : `**${number(found)}**`,
    number(honestLargest),
    why,
  ]);
  return `## Limits

Found on ${count(groups)} honest groups (${count(sequences)} sequences, ${count(tokens)} tokens) that nothing below uses. A group is rejected
beyond twice a limit; between the two it is ignored, which costs nobody standing.

${table(['limit', 'was', 'found', 'honest, largest', 'why'], rows)}`;
}

function honestSection({ result }: CalibrationReport): string {
  const { honest, pairs } = result;
  const rows = CHECKS.map((name) => {
    const { sequences, groups } = honest.byCheck[name];
    return [CHECK_TITLES[name], sequences === null ? '–' : bounded(sequences), bounded(groups)];
  });
  const perPair = pairs.map(({ made, replayed, rejected }) => [
    made,
    replayed,
    `${rejected.count} of ${count(rejected.of)}`,
  ]);
  return `## Honest work

${count(honest.groups)} groups (${count(honest.sequences)} sequences, ${count(honest.tokens)} tokens), each generated in one setting and replayed in another:
**${honest.verdict.groups.count} rejected**, ${bounded(honest.verdict.groups)} with its 95 % Clopper-Pearson bounds; ${honest.verdict.borderline} borderline;
${honest.softMisses} tokens passed only through the widening by δ.

${table(['check', 'sequences rejected', 'groups rejected'], rows)}
${table(['generated', 'replayed', 'groups rejected'], perPair)}`;
}

function lieRow({ title, tally, theory, detection }: LieResult): readonly string[] {
  return [
    title,
    count(tally.groups),
    bounded(tally.verdict.sequences),
    bounded(tally.verdict.groups),
    bounded(tally.forged.sequences),
    bounded(tally.forged.groups),
    `${percent(theory.overlap)} ± ${percent(theory.deviation)}`,
    theory.halfL1 === null ? '–' : percent(theory.halfL1),
    `${until(detection.careless)} / ${until(detection.forged)}`,
    `${percent(detection.careless.withinProbation)} / ${percent(detection.forged.withinProbation)}`,
  ];
}

function until({ groupsUntilQuarantine: groups }: Detection): string {
  return groups === null ? 'never' : groups < 100 ? groups.toFixed(1) : count(Math.round(groups));
}

function liesSection({ result, subject }: CalibrationReport): string {
  const head = [
    'lie',
    'groups',
    'careless: sequences caught',
    'careless: groups caught',
    'forged: sequences caught',
    'forged: groups caught',
    'theory, overlap',
    'theory, ½·L1',
    'groups until quarantine, careless / forged',
    'in quarantine within probation, careless / forged',
  ];
  return `## Lies

Careless: claims (log-probs, proofs) are those of what was run. Forged: the same tokens with the true policy's log-probs and proofs, so that only
the draws are left; those claims are taken from the verifier's own pass, at no distance from it by construction (how far an honest pass is from another is
measured above). Of a lie that is told in some sequences only, those sequences count, and groups without one are left out.

Theory, overlap: a token passes with the share of the liar's interval of the CDF that it has in common with the policy's, widened by twice δ, so a group is caught
with 1 − Π overlap; ± is one standard deviation of the share caught, were that right. ½·L1: 1 − Π(1 − ½·L1) over the group's tokens, each factor estimated by min(1, p/q) of
the token itself; no way of drawing is caught less often. Until quarantine: groups checked whole, on average, at the measured share, a second chance included.
Within probation: the chance that a newcomer that tells nothing else is rejected among its first ${subject.probationGroups} groups, and again among as many after that.
The policy one step old is ${subject.previous}.

${table(head, result.lies.map(lieRow))}`;
}

function checksSection({ result }: CalibrationReport): string {
  const rows = result.lies.map(({ title, tally }) => [
    title,
    ...CHECKS.map((name) => {
      const { groups, alone } = tally.byCheck[name];
      return `${percent(groups.of === 0 ? 0 : groups.count / groups.of)}${alone > 0 ? ` (${count(alone)} alone)` : ''}`;
    }),
  ]);
  const perCheck = CHECKS.map((name) => {
    const alone = caughtAlone(result, name);
    const all = caught(result, name);
    const said =
      all === 0
        ? 'caught nothing'
        : alone === 0
          ? 'caught nothing that the others missed'
          : `${count(alone)} that no other caught`;
    return [CHECK_TITLES[name], count(all), said];
  });
  return `## Which check caught what

Careless lies, share of groups that each check rejects by itself.

${table(['lie', ...CHECKS.map((name) => CHECK_TITLES[name])], rows)}
Over all lies:

${table(['check', 'groups rejected', 'alone'], perCheck)}
Of forged lies the draws are all that is left: they alone catch every one of them.
`;
}

function checkTable({ result }: CalibrationReport): string {
  const rows = result.lies.flatMap(({ title, tally }) =>
    CHECKS.filter((name) => tally.byCheck[name].groups.count > 0).map((name) => {
      const { sequences, groups } = tally.byCheck[name];
      return [title, CHECK_TITLES[name], sequences === null ? '–' : bounded(sequences), bounded(groups)];
    }),
  );
  return `## Every share with its bounds

Careless; checks that rejected nothing of a lie are left out.

${table(['lie', 'check', 'sequences', 'groups'], rows)}`;
}

/** @param chart file name of the SVG beside it */
export function reportMarkdown(report: CalibrationReport, chart: string): string {
  const { subject } = report;
  const machine = Object.entries(subject.machine).map(([name, value]) => `${name} ${value}`);
  return `# Calibration of ${subject.recipe}

Policy \`${subject.policyRoot.slice(0, 12)}\` (${count(subject.parameters)} parameters), groups of ${subject.groupSize} × at most ${subject.maxNewTokens} tokens. Settings: ${subject.settings.join('; ')}.
Machine: ${machine.join(', ')}. Limits hold for machines like it, with a margin of ${MARGIN}; a swarm of unlike devices is calibrated on them.

Made by \`${subject.command}\`.

![honest work against each lie](${chart})

${[limitsSection, honestSection, liesSection, checksSection, checkTable].map((section) => section(report)).join('\n')}`;
}

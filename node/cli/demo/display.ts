// The demo on a terminal: one screenful, drawn again in place; without a terminal, plain lines.

import { describeEvent, type RoleEvent } from '../events.ts';
import { type DemoState, type DemoSummary, goalOf, hopeless, LIAR, swarmTokensPerSecond } from './state.ts';

const CHART_ROWS = 8;
const CHART_COLUMNS = 60;
const SAMPLES_SHOWN = 4;
/** Of a terminal that shows it all; on a lower one charts are half as high, and blank lines are left out. */
const FULL_HEIGHT = 36;
const ESC = '\u001b[';

export interface Display {
  event(name: string, event: RoleEvent): void;
  close(): void;
}

/** A chart of values in [0, 1]: one column a point, newest at the right. */
export function chart(points: readonly number[], rows: number = CHART_ROWS, columns: number = CHART_COLUMNS): string[] {
  const shown = resample(points, columns);
  const blocks = ' ▁▂▃▄▅▆▇█';
  const lines: string[] = [];
  for (let row = rows - 1; row >= 0; row--) {
    const cells = shown.map((v) => blocks[Math.max(0, Math.min(8, Math.round((v * rows - row) * 8)))]);
    const label = row === rows - 1 ? '1.0' : row === 0 ? '0.0' : row === rows / 2 ? '0.5' : '   ';
    lines.push(`${label} │${cells.join('')}`);
  }
  return lines;
}

function resample(points: readonly number[], columns: number): number[] {
  if (points.length <= columns) return [...points];
  return Array.from({ length: columns }, (_, i) => points[Math.round((i * (points.length - 1)) / (columns - 1))] ?? 0);
}

/** What a swarm without a step is busy with. */
function startingLine({ evaluations, nodes, verdicts }: DemoState): string {
  if (evaluations.length === 0) return 'starting, and evaluating the model before it learns …';
  const made = [...nodes.values()].reduce((sum, { groups }) => sum + groups, 0);
  return `gathering the first batch: ${made} groups made, ${verdicts?.accepted ?? 0} accepted …`;
}

/** Breaks a line between words, where it is wider than a terminal. */
export function wrapped(line: string, columns: number): string[] {
  const lines = [''];
  for (const word of line.split(/(?<= )/)) {
    if (lines.at(-1)!.length + word.trimEnd().length > columns) lines.push('  ');
    lines[lines.length - 1] += word;
  }
  return lines.map((each) => each.trimEnd().slice(0, columns));
}

/** The whole screen as lines. @param height rows of the terminal */
export function renderScreen(state: DemoState, nowMs: number, height: number = FULL_HEIGHT): string[] {
  const isLow = height < FULL_HEIGHT;
  const step = state.steps.at(-1);
  const evaluation = state.evaluations.at(-1);
  const first = state.evaluations[0];
  const seconds = Math.round((nowMs - state.startedMs) / 1000);
  const lines = [
    `murmuration demo · ${seconds} s · policy step ${step?.policyStep ?? 0}`,
    '',
    `held-out accuracy ${format(evaluation?.accuracy)} (before ${format(first?.accuracy)}, goal ${format(goalOf(state) ?? undefined)}), completion ${format(evaluation?.completionTokensMean, 1)} tokens (before ${format(first?.completionTokensMean, 1)})`,
    ...chart(
      state.evaluations.map((e) => e.accuracy),
      isLow ? CHART_ROWS / 2 : CHART_ROWS,
    ),
    hopeless(state) ?? '',
    `reward of the accepted groups ${format(step?.rewardMean)}`,
    ...chart(
      state.steps.map((s) => s.rewardMean),
      isLow ? CHART_ROWS / 4 : CHART_ROWS / 2,
    ),
    '',
  ];
  if (step === undefined) lines.push(startingLine(state));
  if (step !== undefined) {
    const c = step.counts;
    lines.push(
      `lag ${step.lagMean.toFixed(1)} (most ${step.lagMax}) · ${Math.round(swarmTokensPerSecond(state))} tokens/s · step ${step.seconds.toFixed(1)} s · entropy ${step.entropy.toFixed(3)}`,
      `groups: ${c.announced} announced · ${c.trained} trained · ${c.rejected} rejected · ${c.stale} stale · ${c.dropped} dropped · ${c.pending} pending`,
    );
  }
  lines.push(
    `policy steps: ${[...state.policySteps]
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([name, at]) => `${name} ${at}`)
      .join(' · ')}`,
    '',
    ...liarLines(state),
    '',
  );
  lines.push(
    'samples',
    ...state.samples
      .slice(-SAMPLES_SHOWN)
      .map((s) => `  step ${s.policyStep}: ${s.prompt}${s.completion}   reward ${s.reward}`),
  );
  return isLow ? lines.filter((line) => line !== '') : lines;
}

function liarLines(state: DemoState): string[] {
  const codes = new Map<string, number>();
  let honest = 0;
  for (const r of state.rejections) {
    if (state.peerNames.get(r.peerId) === LIAR) codes.set(r.code, (codes.get(r.code) ?? 0) + 1);
    else honest++;
  }
  const quarantined = state.quarantines.some((q) => state.peerNames.get(q.peerId) === LIAR);
  const caught = [...codes].map(([code, n]) => `${code} × ${n}`).join(', ');
  const honestLine = `honest groups rejected: ${honest}`;
  if (!state.hasLiar) return [honestLine];
  const liar = caught === '' ? 'not caught yet' : `caught at ${caught}${quarantined ? '; quarantined' : ''}`;
  return [`the liar (altered weights): ${liar}`, honestLine];
}

function format(value: number | undefined, digits: number = 3): string {
  return value === undefined ? '–' : value.toFixed(digits);
}

/** Draws in place on a terminal, at most five times a second. */
export function createScreenDisplay(state: DemoState, out: NodeJS.WriteStream): Display {
  let drawn = 0;
  const draw = (): void => {
    const width = out.columns ?? 100;
    const height = Math.max(10, (out.rows ?? 40) - 1);
    const lines = renderScreen(state, Date.now(), height)
      .flatMap((line) => wrapped(line, width - 1))
      .slice(0, height);
    const up = drawn > 0 ? `${ESC}${drawn}A` : '';
    out.write(`${up}${lines.map((line) => `${ESC}2K${line}`).join('\n')}\n${ESC}0J`);
    drawn = lines.length;
  };
  const timer = setInterval(draw, 200);
  return {
    event() {},
    close() {
      clearInterval(timer);
      draw();
    },
  };
}

/** One line an event that matters, for logs and pipes. */
export function createPlainDisplay(state: DemoState, out: NodeJS.WritableStream): Display {
  return {
    event(name, event) {
      if (event.event === 'sample') return;
      if (event.event === 'evaluation') {
        out.write(`${describeEvent(event)}\n`);
        const hint = hopeless(state);
        if (hint !== null) out.write(`${hint}\n`);
        const sample = state.samples.at(-1);
        if (sample !== undefined)
          out.write(
            `  for example (step ${sample.policyStep}): ${sample.prompt}${sample.completion}   reward ${sample.reward}\n`,
          );
      } else if (event.event === 'step') {
        const c = event.counts;
        out.write(
          `${describeEvent(event)}; groups ${c.trained} trained, ${c.rejected} rejected, ${c.stale} stale, ${c.dropped} dropped\n`,
        );
      } else if (event.event === 'rejected' || event.event === 'quarantined') {
        out.write(`${describeEvent(event).replace(/…\w{8}/, state.peerNames.get(event.peerId) ?? event.peerId)}\n`);
      } else if (event.event === 'notice') {
        out.write(`${name}: ${event.text}\n`);
      }
    },
    close() {},
  };
}

/** How a user of this installation calls us: from a clone the sources run as they are. */
const MURMUR = import.meta.url.endsWith('.ts') ? 'npm run murmur --' : 'murmur';

function learnedLines({ heldOut, completionTokens }: DemoSummary): readonly string[] {
  if (heldOut.tasks === 0) return ['nothing was evaluated yet'];
  return [
    `                      before    after`,
    `held-out accuracy     ${heldOut.before.toFixed(3)}     ${heldOut.after.toFixed(3)}    (${heldOut.tasks} tasks, sampled at the recipe's temperature)`,
    `completion tokens     ${completionTokens.before.toFixed(1).padEnd(5)}     ${completionTokens.after.toFixed(1)}`,
  ];
}

/** What is printed at the end. */
export function renderSummary(summary: DemoSummary, dataDir: string, learned: boolean): string {
  const { groups: g, liar } = summary;
  const caught = liar?.quarantined ? `quarantined after ${liar.afterGroups} groups` : 'not quarantined';
  const ignored = Object.entries(g.ignored)
    .map(([code, n]) => `${code} ${n}`)
    .join(', ');
  return [
    '',
    learned
      ? `The swarm learned it in ${summary.steps} steps and ${Math.round(summary.seconds)} seconds (goal ${summary.heldOut.goal.toFixed(3)}).`
      : `Stopped after ${summary.steps} steps and ${Math.round(summary.seconds)} seconds.`,
    '',
    ...learnedLines(summary),
    '',
    `groups    ${g.announced} announced = ${g.trained} trained + ${g.rejected} rejected + ${g.stale} stale + ${g.dropped} dropped + ${g.pending} pending`,
    ...(ignored === '' ? [] : [`          ignored before that: ${ignored}`]),
    `honest    ${summary.honestRejected} groups rejected`,
    ...(liar === null ? [] : [`liar      ${caught}, caught at: ${liar.codes.join(', ') || 'nothing'}`]),
    '',
    `Look around in what is left:  ${MURMUR} status --data-dir ${dataDir}`,
    `                              ${MURMUR} eval --data-dir ${dataDir}`,
    '',
  ].join('\n');
}

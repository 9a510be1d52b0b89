// The chart of honest work against each lie, as plain SVG text. Left: mean log-prob drift of a sequence, p1 to p99, its quartiles and
// its median, told carelessly, on a logarithmic scale beside the limit. Right: groups caught when forged, with bounds and theory.

import type { CalibrationReport } from './report.ts';
import type { Quantiles } from './tally.ts';

const ROW = 26;
const TOP = 70;
const LABEL = 230;
const LEFT = { from: 240, to: 560 };
const RIGHT = { from: 610, to: 890 };
const WIDTH = 920;
/** Decades of the left scale. */
const DECADES = { least: -9, most: 2 };
const HONEST = '#2a7f62';
const LYING = '#b3472f';
const THEORY = '#1f2a44';

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Place of a drift; 0 lies at the left edge. */
function driftX(value: number): number {
  const decade = value > 0 ? Math.log10(value) : DECADES.least;
  const share = (decade - DECADES.least) / (DECADES.most - DECADES.least);
  return LEFT.from + Math.min(1, Math.max(0, share)) * (LEFT.to - LEFT.from);
}

function shareX(value: number): number {
  return RIGHT.from + value * (RIGHT.to - RIGHT.from);
}

function line(x1: number, y1: number, x2: number, y2: number, style: string): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => value.toFixed(1));
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" ${style}/>`;
}

function text(x: number, y: number, content: string, style: string = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${style}>${escaped(content)}</text>`;
}

function spread(y: number, quantiles: Quantiles, colour: string): string {
  const [p1, p25, p50, p75, p99] = quantiles.map(driftX) as [number, number, number, number, number];
  return [
    line(p1, y, p99, y, `stroke="${colour}" stroke-width="2"`),
    line(p25, y, p75, y, `stroke="${colour}" stroke-width="8" stroke-opacity="0.5"`),
    line(p50, y - 6, p50, y + 6, `stroke="${colour}" stroke-width="3"`),
  ].join('');
}

function axes({ result }: CalibrationReport, bottom: number): string {
  const limit = result.limits.find(({ measure }) => measure === 'meanDrift')!.found;
  const parts: string[] = [];
  for (let decade = DECADES.least; decade <= DECADES.most; decade += 2) {
    const x = driftX(10 ** decade);
    parts.push(line(x, TOP - 10, x, bottom, 'stroke="#ddd"'));
    parts.push(text(x, bottom + 16, `1e${decade}`, 'text-anchor="middle" class="axis"'));
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const x = shareX(share);
    parts.push(line(x, TOP - 10, x, bottom, 'stroke="#ddd"'));
    parts.push(text(x, bottom + 16, `${100 * share} %`, 'text-anchor="middle" class="axis"'));
  }
  for (const factor of [1, 2]) {
    parts.push(
      line(driftX(factor * limit), TOP - 10, driftX(factor * limit), bottom, 'stroke="#555" stroke-dasharray="4 3"'),
    );
  }
  parts.push(text(driftX(limit), TOP - 14, 'limit, twice the limit', 'text-anchor="middle" class="axis"'));
  return parts.join('\n');
}

/** @returns an SVG document that needs no other file */
export function reportChart(report: CalibrationReport): string {
  const { honest, lies } = report.result;
  const bottom = TOP + ROW * (lies.length + 1);
  const rows = [{ title: 'honest', tally: honest, theory: null }, ...lies];
  const drawn = rows.map(({ title, tally, theory }, i) => {
    const y = TOP + ROW * (i + 0.5);
    const colour = theory === null ? HONEST : LYING;
    const { count, of, low, high } = tally.forged.groups;
    const measured = of === 0 ? 0 : count / of;
    return [
      text(LABEL, y + 4, title, 'text-anchor="end"'),
      spread(y, tally.quantiles.meanDrift, colour),
      line(shareX(low), y, shareX(high), y, `stroke="${colour}" stroke-width="2"`),
      `<circle cx="${shareX(measured).toFixed(1)}" cy="${y}" r="4" fill="${colour}"/>`,
      theory === null
        ? ''
        : `<circle cx="${shareX(theory.overlap).toFixed(1)}" cy="${y}" r="7" fill="none" stroke="${THEORY}" stroke-width="1.5"/>`,
    ].join('\n');
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + 40}" width="${WIDTH}" height="${bottom + 40}" role="img">
<title>${escaped(`Honest work against each lie: ${report.subject.recipe}`)}</title>
<style>text { font: 13px sans-serif; fill: #222 } .head { font-weight: bold } .axis { font-size: 11px; fill: #555 }</style>
<rect width="100%" height="100%" fill="#fff"/>
${text(LEFT.from, 24, 'Careless: mean log-prob drift of a sequence, nats', 'class="head"')}
${text(LEFT.from, 42, 'p1 to p99, quartiles, median', 'class="axis"')}
${text(RIGHT.from, 24, 'Forged: groups caught', 'class="head"')}
${text(RIGHT.from, 42, 'dot: measured, 95 % bounds; ring: theory', 'class="axis"')}
${axes(report, bottom)}
${drawn.join('\n')}
</svg>
`;
}

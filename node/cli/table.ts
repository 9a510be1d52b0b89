// Plain text for people: aligned columns, and nested values as indented lines.

import type { Row } from './inspector.ts';

const ID = /^[0-9a-f]{64}$/;
const PEER = /^12D3Koo\w{20,}$/;

/** Three decimals; of what is too small for them two digits. */
function number(value: number): string {
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) < 0.001 ? String(Number(value.toPrecision(2))) : value.toFixed(3);
}

/** One value in a cell: long ids shortened, numbers rounded. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return '–';
  if (typeof value === 'number') return number(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'string') {
    if (ID.test(value)) return value.slice(0, 12);
    if (PEER.test(value)) return `…${value.slice(-8)}`;
    return value;
  }
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(cell).join(' ');
  const shown = Object.entries(value as Row).filter(([, v]) => v !== undefined);
  return shown.length === 0 ? 'none' : shown.map(([k, v]) => `${k} ${cell(v)}`).join(', ');
}

/** Rows as a table, columns in the order in which they first appear; `empty` when there are none. */
export function table(rows: readonly Row[], empty: string): string {
  if (rows.length === 0) return `${empty}\n`;
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = [columns, ...rows.map((row) => columns.map((column) => cell(row[column])))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  return cells
    .map(
      (line) =>
        `${line
          .map((text, i) => text.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** An object as `name  value` lines; objects and lists of objects below their name, indented. */
export function tree(value: Row, indent: string = ''): string {
  const shown = Object.entries(value).filter(([, v]) => v !== undefined);
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  let text = '';
  for (const [name, v] of shown) {
    if (Array.isArray(v) && v.some((item) => typeof item === 'object')) {
      text += `${indent}${name}\n${table(v as Row[], '  none')
        .replace(/^/gm, `${indent}  `)
        .trimEnd()}\n`;
    } else if (typeof v === 'object' && v !== null && !Array.isArray(v)) {
      text +=
        Object.keys(v).length === 0
          ? `${indent}${name.padEnd(width)}  none\n`
          : `${indent}${name}\n${tree(v as Row, `${indent}  `)}`;
    } else {
      text += `${indent}${name.padEnd(width)}  ${cell(v)}\n`;
    }
  }
  return text;
}

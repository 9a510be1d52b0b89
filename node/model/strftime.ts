// Python's datetime.strftime in the C locale, of local time: what chat templates call as strftime_now.
// Source: https://docs.python.org/3/library/datetime.html#format-codes, with glibc's flags `-` (no padding) and `_`.
// Left out: codes that need a time zone's name or a week of the year; they stay as they are.

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

/** A number and the width that it is padded to, or a text. */
type Part = readonly [value: number, width: number] | string;

const dayOfYear = (date: Date): number =>
  Math.round(
    (Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000,
  );

const PARTS: Readonly<Record<string, (date: Date) => Part>> = {
  Y: (date) => [date.getFullYear(), 1],
  y: (date) => [date.getFullYear() % 100, 2],
  m: (date) => [date.getMonth() + 1, 2],
  d: (date) => [date.getDate(), 2],
  e: (date) => String(date.getDate()).padStart(2),
  j: (date) => [dayOfYear(date), 3],
  H: (date) => [date.getHours(), 2],
  I: (date) => [date.getHours() % 12 || 12, 2],
  M: (date) => [date.getMinutes(), 2],
  S: (date) => [date.getSeconds(), 2],
  f: (date) => [date.getMilliseconds() * 1000, 6],
  w: (date) => [date.getDay(), 1],
  u: (date) => [date.getDay() || 7, 1],
  A: (date) => DAYS[date.getDay()]!,
  a: (date) => DAYS[date.getDay()]!.slice(0, 3),
  B: (date) => MONTHS[date.getMonth()]!,
  b: (date) => MONTHS[date.getMonth()]!.slice(0, 3),
  h: (date) => MONTHS[date.getMonth()]!.slice(0, 3),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  F: (date) => strftime(date, '%Y-%m-%d'),
  T: (date) => strftime(date, '%H:%M:%S'),
  R: (date) => strftime(date, '%H:%M'),
  D: (date) => strftime(date, '%m/%d/%y'),
  '%': () => '%',
};

/** The date's local time in the format; a code that is not known stays. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%([-_]?)([A-Za-z%])/g, (whole, flag: string, code: string) => {
    const part = Object.hasOwn(PARTS, code) ? PARTS[code]!(date) : whole;
    if (typeof part === 'string') return part;
    const [value, width] = part;
    return String(value).padStart(flag === '-' ? 1 : width, flag === '_' ? ' ' : '0');
  });
}

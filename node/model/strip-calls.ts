// Python's str.strip, lstrip and rstrip with characters: @huggingface/jinja 0.5.11 takes every strip(…) for one of white
// space, and templates of reasoning models call strip('\n'). The calls are rewritten in the parsed template, before it runs.

/** Names that no template can write: they hold a space. */
const NAMES = { strip: ' strip', lstrip: ' lstrip', rstrip: ' rstrip' } as const;

function stripped(text: unknown, chars: unknown, isLeft: boolean, isRight: boolean): string {
  if (typeof text !== 'string') throw new Error('strip() of what is no text');
  if (chars === null || chars === undefined) chars = ' \t\n\r\v\f';
  if (typeof chars !== 'string') throw new Error('strip() takes a text of characters');
  const set = new Set(chars);
  const points = [...text];
  let [from, to] = [0, points.length];
  while (isLeft && from < to && set.has(points[from]!)) from++;
  while (isRight && from < to && set.has(points[to - 1]!)) to--;
  return points.slice(from, to).join('');
}

/** What the rewritten calls call. */
export const STRIP_FUNCTIONS: Readonly<Record<string, (text: unknown, chars?: unknown) => string>> = {
  [NAMES.strip]: (text, chars) => stripped(text, chars, true, true),
  [NAMES.lstrip]: (text, chars) => stripped(text, chars, true, false),
  [NAMES.rstrip]: (text, chars) => stripped(text, chars, false, true),
};

interface Call {
  callee: { readonly type: string; readonly object?: unknown; property?: { readonly type: string; value?: unknown } };
  args: unknown[];
}

/** Turns `x.strip(chars)` into a call of a function of x and chars, everywhere in a syntax tree, in place. */
export function rewriteStripCalls(node: unknown): void {
  if (typeof node !== 'object' || node === null) return;
  for (const part of node instanceof Map ? [...node].flat() : Object.values(node)) rewriteStripCalls(part);
  if ((node as { type?: unknown }).type !== 'CallExpression') return;
  const call = node as Call;
  const { callee } = call;
  const method = callee.type === 'MemberExpression' ? callee.property : undefined;
  if (call.args.length !== 1 || method?.type !== 'Identifier') return;
  if (typeof method.value !== 'string' || !Object.hasOwn(NAMES, method.value)) return;
  method.value = NAMES[method.value as keyof typeof NAMES];
  call.callee = method as Call['callee'];
  call.args.unshift(callee.object);
}

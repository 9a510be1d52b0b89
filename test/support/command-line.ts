// Command lines that documents show, read as `murmur` would read them, running nothing.

import assert from 'node:assert/strict';
import { createProgram } from '../../node/cli/program.ts';

/** A command line that murmur takes. */
export interface ParsedCommand {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** @param words what follows `murmur`; fails the test when murmur would refuse them */
export async function parsedCommand(words: readonly string[]): Promise<ParsedCommand> {
  const program = createProgram().configureOutput({ writeErr: () => {} });
  const named = program.commands.find((each) => each.name() === words[0]);
  assert.ok(named !== undefined, `murmur ${words.join(' ')}: no such command`);
  named.action(() => {});
  await assert.doesNotReject(program.parseAsync([...words], { from: 'user' }), `murmur ${words.join(' ')}`);
  return { name: named.name(), options: named.opts() };
}

/** `murmur …` at the beginning of lines, up to a comment, a pipe, a redirection or two spaces. @returns the words after `murmur` */
export function commandLines(text: string): string[][] {
  return [...text.matchAll(/^ *murmur +(\S.*?)(?= {2}| [#|<]|$)/gm)].map(([, line]) => line!.trim().split(/ +/));
}

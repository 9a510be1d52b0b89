// Runs `murmur` inside the test's own process: quick, for commands that end by themselves.
// Not for two at once: it takes over stdout, stderr and process.exitCode while the command runs.

import { runProgram } from '../../node/cli/program.ts';

/** What a command printed and would have exited with. */
export interface ProgramRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function takeOver(stream: NodeJS.WriteStream): () => string {
  const own = stream.write;
  let text = '';
  stream.write = ((chunk: string | Uint8Array, ...more: never[]) => {
    // Commands print text; bytes are node:test's own report on its way.
    if (typeof chunk !== 'string') return own.call(stream, chunk, ...more);
    text += chunk;
    return true;
  }) as typeof stream.write;
  return () => {
    stream.write = own;
    return text;
  };
}

/** @param args what follows `murmur` */
export async function runInProcess(args: readonly string[]): Promise<ProgramRun> {
  const exitCode = process.exitCode;
  process.exitCode = undefined;
  const stdout = takeOver(process.stdout);
  const stderr = takeOver(process.stderr);
  let code = -1;
  try {
    code = await runProgram(['node', 'murmur', ...args]);
  } finally {
    process.exitCode = exitCode;
  }
  return { stdout: stdout(), stderr: stderr(), code };
}

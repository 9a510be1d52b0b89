// Runs `murmur`, or a part of it that prints, inside the test's own process: quick, for what ends by itself.
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

/** What `run` printed, and what it came to. */
export async function captured<T>(
  run: () => Promise<T>,
): Promise<{ readonly result: T; readonly stdout: string; readonly stderr: string }> {
  const [stdout, stderr] = [takeOver(process.stdout), takeOver(process.stderr)];
  try {
    const result = await run();
    return { result, stdout: stdout(), stderr: stderr() };
  } finally {
    stdout();
    stderr();
  }
}

/** @param args what follows `murmur` */
export async function runInProcess(args: readonly string[]): Promise<ProgramRun> {
  const exitCode = process.exitCode;
  process.exitCode = undefined;
  try {
    const { result, ...printed } = await captured(() => runProgram(['node', 'murmur', ...args]));
    return { ...printed, code: result };
  } finally {
    process.exitCode = exitCode;
  }
}

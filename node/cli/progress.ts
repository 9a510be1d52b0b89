// How far something large is, for people: lines on stderr, few in a log, one that is rewritten on a terminal.

const MIN_BYTES = 64e6;
const STEP_SHARE = 0.1;
const TERMINAL_STEP_SHARE = 0.01;

/** '270.1 MB' */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * A function to be told how far the work is; what is small says nothing.
 * @param doing such as "writing DIR"
 */
export function showProgress(
  doing: string,
  out: NodeJS.WriteStream = process.stderr,
): (doneBytes: number, totalBytes: number) => void {
  let shown = 0;
  return (doneBytes, totalBytes) => {
    const share = totalBytes === 0 ? 1 : doneBytes / totalBytes;
    const isDone = doneBytes >= totalBytes;
    if (totalBytes < MIN_BYTES || (share - shown < (out.isTTY ? TERMINAL_STEP_SHARE : STEP_SHARE) && !isDone)) return;
    if (shown === 1) return;
    shown = isDone ? 1 : share;
    const line = `${doing}: ${Math.floor(100 * share)} % of ${megabytes(totalBytes)}`;
    out.write(out.isTTY ? `\r${line}${isDone ? '\n' : ''}` : `${line}\n`);
  };
}

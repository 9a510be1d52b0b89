// Loggers for tests: one that says nothing, one that remembers.

import type { Logger } from '../../node/protocol/ports.ts';

/** Says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export interface LogLine {
  readonly level: keyof Logger;
  readonly context: object;
  readonly message: string;
}

/** A logger and the lines it was given. */
export function recordingLogger(): { readonly logger: Logger; readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: keyof Logger) =>
    (context: object, message: string): void => {
      lines.push({ level, context, message });
    };
  return { logger: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }, lines };
}

// Ctrl-C: once for a clean end, twice for an end at once.

/** Ctrl-C once asks for a clean end; a second time it has its usual effect. */
export async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

/**
 * Ends the process by the signal that asked for it, at once: its parent sees an interrupted process (130 in a shell).
 * `process.exit` would wait for threads, and a thread inside ONNX Runtime for as long as its run takes (measured).
 */
export function endBySignal(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

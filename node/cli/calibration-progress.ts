// How far a calibration is, for people: a line that is rewritten on a terminal, a line a part and a minute in a log.

const LOG_EVERY_MS = 60_000;

function minutes(ms: number): string {
  return ms < 90_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}

/** @param allGroups of all parts, which are told one after another */
export function showCalibration(
  out: Pick<NodeJS.WriteStream, 'write' | 'isTTY'>,
  allGroups: number,
  nowMs: () => number = Date.now,
): (part: string, done: number, of: number) => void {
  let before = 0;
  let current = { part: '', done: 0, of: 0 };
  /** groups that were made in this run, and since when */
  let made = 0;
  let startMs: number | null = null;
  let toldMs = nowMs();
  return (part, done, of) => {
    if (part !== current.part) {
      before += current.of;
      current = { part, done, of };
      startMs ??= nowMs();
    }
    made += done - current.done;
    current = { part, done, of };
    const left = allGroups - before - done;
    const leftMs = made === 0 ? null : ((nowMs() - startMs!) / made) * left;
    const share = Math.floor((100 * (before + done)) / allGroups);
    const rest = left === 0 || leftMs === null ? '' : `, about ${minutes(leftMs)} left`;
    const line = `${part}: ${done} of ${of} groups; ${share} % of all${rest}`;
    if (out.isTTY) out.write(`\r\u001b[K${line}${done >= of ? '\n' : ''}`);
    else if (done >= of || nowMs() - toldMs >= LOG_EVERY_MS) {
      out.write(`${line}\n`);
      toldMs = nowMs();
    }
  };
}

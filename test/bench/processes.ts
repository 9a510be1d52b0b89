// Memory and CPU of other processes, read from /proc (Linux only).

import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts CPU time in hundredths of a second (sysconf _SC_CLK_TCK, 100 on every common build). */
const TICK_MS = 10;

export const canReadProcesses: boolean = process.platform === 'linux';

/** Resident memory in bytes; 0 when the process is gone. */
export function residentBytes(pid: number): number {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/**
 * The most memory that this process held, in bytes; Linux only.
 * resourceUsage().maxRSS is not it: that begins with what the parent held when it forked.
 */
export function peakBytes(): number {
  const highWater = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(highWater![1]) * 1024;
}

/** Fields of /proc/PID/stat after the command's name, from `state` on; null when the process is gone. */
function statOf(pid: number): readonly string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

/** User and system time so far, milliseconds. */
export function cpuMilliseconds(pid: number): number {
  const stat = statOf(pid);
  return stat === null ? 0 : (Number(stat[11]) + Number(stat[12])) * TICK_MS;
}

/** A process and all that descend from it. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const parent = Number(statOf(Number(entry))?.[1] ?? 0);
    children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
  }
  const found = [root];
  for (let k = 0; k < found.length; k++) found.push(...(children.get(found[k]!) ?? []));
  return found;
}

// Numbers on how the network thread fares: how late its event loop runs and how much of that is its own doing, connections,
// memory. Simple values, no registry. Source: design.md "the main thread keeps the network" (it must not block).
// A loop runs late because its thread was busy, or because the machine gave the processor to others: the thread's own CPU
// time tells them apart.

import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Startable } from '../protocol/ports.ts';
import type { Host } from './host.ts';

const INTERVAL_MS = 10;

export interface NetworkMetrics {
  /** how late timers ran since the last reset */
  readonly eventLoopDelayMs: { readonly mean: number; readonly p99: number; readonly max: number };
  /** the part of each delay, at most, in which this thread itself computed: what our own code blocked */
  readonly blockedMs: { readonly p99: number; readonly max: number };
  readonly connectedPeers: number;
  readonly bannedPeers: number;
  readonly rssBytes: number;
  /** user + system CPU time of this process, all threads */
  readonly cpuMs: number;
}

export interface NetworkMeter extends Startable {
  read(): NetworkMetrics;
  /** begins the delay's statistics anew */
  reset(): void;
}

/** CPU time of the calling thread in ms; before Node 23.9 that of all threads, which is more. */
function threadCpuMs(): number {
  const { user, system } = (process.threadCpuUsage ?? process.cpuUsage)();
  return (user + system) / 1000;
}

const MICROS = 1000;
/** Histograms count whole numbers from 1 on. */
const record = (histogram: RecordableHistogram, ms: number): void =>
  histogram.record(Math.max(1, Math.round(ms * MICROS)));
const msOf = (micros: number): number => micros / MICROS;

/** Measures from start() to stop(). Also without a host, for other processes' main threads. */
export function createNetworkMeter(components: { readonly host?: Host }): NetworkMeter {
  const [delay, blocked] = [createHistogram(), createHistogram()];
  let timer: NodeJS.Timeout | null = null;
  let last = { at: 0, cpu: 0 };
  const tick = (): void => {
    const now = { at: performance.now(), cpu: threadCpuMs() };
    const late = Math.max(0, now.at - last.at - INTERVAL_MS);
    record(delay, late);
    record(blocked, Math.min(late, now.cpu - last.cpu));
    last = now;
  };
  return {
    read() {
      const cpu = process.cpuUsage();
      const max = (histogram: RecordableHistogram): number => (histogram.count === 0 ? 0 : msOf(histogram.max));
      return {
        eventLoopDelayMs: {
          mean: msOf(delay.mean || 0),
          p99: msOf(delay.percentile(99)),
          max: max(delay),
        },
        blockedMs: { p99: msOf(blocked.percentile(99)), max: max(blocked) },
        connectedPeers: components.host?.peers.connected().length ?? 0,
        bannedPeers: components.host?.standing.banned().length ?? 0,
        rssBytes: process.memoryUsage.rss(),
        cpuMs: (cpu.user + cpu.system) / 1000,
      };
    },
    reset() {
      delay.reset();
      blocked.reset();
    },
    async start() {
      last = { at: performance.now(), cpu: threadCpuMs() };
      timer = setInterval(tick, INTERVAL_MS).unref();
    },
    async stop() {
      if (timer !== null) clearInterval(timer);
      timer = null;
    },
  };
}

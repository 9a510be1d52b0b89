// Numbers on how the network thread fares: event-loop delay, connections, memory. Simple values, no registry.
// Source: design.md "the main thread keeps the network" (its thread must not block); node:perf_hooks monitorEventLoopDelay.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Startable } from '../protocol/ports.ts';
import type { Host } from './host.ts';

const RESOLUTION_MS = 10;

export interface NetworkMetrics {
  /** how late timers ran since the last reset, beyond the sampling interval */
  readonly eventLoopDelayMs: { readonly mean: number; readonly p99: number; readonly max: number };
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

/** Measures from start() to stop(). Also without a host, for other processes' main threads. */
export function createNetworkMeter(components: { readonly host?: Host }): NetworkMeter {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  // The histogram holds whole intervals in nanoseconds and NaN before the first.
  const delayMs = (nanoseconds: number): number => Math.max(0, (nanoseconds || 0) / 1e6 - RESOLUTION_MS);
  return {
    read() {
      const cpu = process.cpuUsage();
      return {
        eventLoopDelayMs: {
          mean: delayMs(histogram.mean),
          p99: delayMs(histogram.percentile(99)),
          max: histogram.max === 0 ? 0 : delayMs(histogram.max),
        },
        connectedPeers: components.host?.peers.connected().length ?? 0,
        bannedPeers: components.host?.standing.banned().length ?? 0,
        rssBytes: process.memoryUsage.rss(),
        cpuMs: (cpu.user + cpu.system) / 1000,
      };
    },
    reset: () => histogram.reset(),
    start: async () => void histogram.enable(),
    stop: async () => void histogram.disable(),
  };
}

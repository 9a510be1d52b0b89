// What the node of a data directory knows: asked of the one that runs there, or read from what a stopped one left.
// Asking needs neither network nor store: they are loaded when there is no node to ask.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isSwarmError } from '../protocol/errors.ts';
import { dataDirLayout } from '../store/data-dir.ts';
import { askControl } from './control.ts';
import type { InspectMethod } from './inspector.ts';

export type Ask = (method: InspectMethod, params?: Readonly<Record<string, unknown>>) => Promise<unknown>;

/**
 * Calls `use` with a way to ask: first of the node that runs on `dataDir`; where none does, again of what one left.
 * @throws {SwarmError} NO_RUNNING_NODE where none ever ran, others as the control socket
 */
export async function withRecords<T>(dataDir: string, use: (ask: Ask) => Promise<T>): Promise<T> {
  try {
    return await use((method, params) => askControl(dataDir, method, params));
  } catch (error) {
    // Looking must not make a data directory where there is none.
    if (!isSwarmError(error, 'NO_RUNNING_NODE') || !existsSync(dataDirLayout(dataDir).db)) throw error;
  }
  const { withStoppedNode } = await import('./offline.ts');
  return withStoppedNode(dataDir, ({ handlers }) => use((method, params = {}) => handlers[method](params)));
}

/** A demo leaves one data directory a process; its trainer knows most. */
export function nodeDataDir(dataDir: string): string {
  const ofDemo = join(dataDir, 'trainer');
  return existsSync(join(dataDir, 'demo.json')) || existsSync(dataDirLayout(ofDemo).db) ? ofDemo : dataDir;
}

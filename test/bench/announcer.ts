// The announcing process as benchmarks use it.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Order, Sent, Target } from './announcer-child.ts';

export interface Announcer {
  /** changes the rate. @returns what was sent since the last change */
  send(perSecond: number): Promise<Sent>;
  close(): Promise<void>;
}

/** Starts it; it is connected, and silent, when this resolves. */
export async function startAnnouncer(target: Target): Promise<Announcer> {
  const child = fork(join(import.meta.dirname, 'announcer-child.ts'), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit');
  const ask = async (order: Order): Promise<Sent> => {
    const answered = once(child, 'message');
    child.send(order);
    const answer = await Promise.race([answered, exited.then(() => null)]);
    if (answer === null) throw new Error('the announcing process ended by itself');
    return answer[0] as Sent;
  };
  await ask({ begin: target });
  return {
    send: (perSecond) => ask({ perSecond }),
    async close() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

// The very commands of docker/compose.yaml as processes on this machine: one trainer, one verifier, three nodes.
// Only what a container would give is replaced: host names, ports of their own, data directories, the loopback network.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAddsUp } from '../support/adds-up.ts';
import { readCompose } from '../support/compose.ts';
import { type MurmurProcess, murmurLab } from '../support/murmur-process.ts';

/** A service's command for this machine; `addresses` of the services that run already. */
function onThisMachine(command: readonly string[], addresses: ReadonlyMap<string, string>): string[] {
  const local = command.map((word, i) => {
    if (command[i - 1] === '--port') return '0';
    const host = /^\/dns4\/([\w-]+)\/tcp\/\d+$/.exec(word)?.[1];
    return host === undefined ? word : addresses.get(host)!;
  });
  return [...local, '--loopback'];
}

test('the ring of docker/compose.yaml turns', { timeout: 300_000 }, async (t) => {
  const lab = await murmurLab(t);
  const { services } = readCompose();
  const addresses = new Map<string, string>();
  const processes = new Map<string, MurmurProcess>();
  const waiting = Object.entries(services);
  while (waiting.length > 0) {
    const ready = waiting.findIndex(([, { depends_on }]) => (depends_on ?? []).every((name) => addresses.has(name)));
    assert.ok(ready >= 0, 'services wait for each other');
    const [[name, { command }] = ['', { command: [] }]] = waiting.splice(ready, 1);
    const started = lab.start(name, onThisMachine(command, addresses));
    processes.set(name, started);
    // Without --join the address may be had at once; whoever joins needs it.
    if (waiting.some(([, service]) => service.depends_on?.includes(name))) {
      addresses.set(name, (await started.event('listening')).addresses[0]!);
    }
  }
  const trainer = processes.get('trainer')!;
  const { counts } = await trainer.event('step');
  assertAddsUp(counts);
  assert.ok(counts.trained > 0 && counts.rejected === 0, JSON.stringify(counts));
  const verifier = processes.get('verifier')!;
  const { accepted, rejected } = await verifier.event('verdicts', (event) => event.accepted > 0);
  assert.ok(accepted > 0 && rejected === 0);
  for (const name of ['node-1', 'node-2', 'node-3']) await processes.get(name)!.event('rollouts');
  for (const process of processes.values()) assert.deepEqual(await process.interrupt(), { code: 0, signal: null });
});

// Where models run: threads by role, and devices that are not here.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { choosePlacement, chooseThreads } from '../../../node/cli/compute.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { murmurLab } from '../../support/murmur-process.ts';

test('any two roles of one machine get no more threads than it has processors', () => {
  const roles = ['train', 'node', 'verify'] as const;
  for (const processors of [2, 3, 4, 8, 15, 16, 96]) {
    for (const a of roles) {
      for (const b of roles) {
        const [x, y] = [chooseThreads(undefined, a, processors), chooseThreads(undefined, b, processors)];
        assert.ok(x >= 1 && x + y <= processors, `${a} ${x}, ${b} ${y} of ${processors}`);
      }
    }
  }
  assert.deepEqual(
    (['train', 'node', 'verify', 'alone'] as const).map((role) => chooseThreads(undefined, role, 16)),
    [8, 8, 4, 16],
  );
  assert.equal(chooseThreads(undefined, 'verify', 1), 1);
  assert.equal(chooseThreads(5, 'node', 2), 5);
});

test('a CPU is always there, CUDA only with its provider', async () => {
  assert.deepEqual(await choosePlacement({ device: 'cpu', threads: 3 }, 'node'), { device: 'cpu', threads: 3 });
  await assert.rejects(choosePlacement({ device: 'cuda' }, 'node'), (error: unknown) => {
    assert.ok(isSwarmError(error, 'DEVICE_UNAVAILABLE'));
    // The very command is named, and it exists.
    const script = /ONNXRUNTIME_NODE_INSTALL=cuda12 node (\S+install\.js)/.exec(error.message)?.[1];
    return script !== undefined && existsSync(script);
  });
});

test('a device that is not here ends the command before it begins, and murmur devices says why', async (t) => {
  const lab = await murmurLab(t);
  const noDriver = { VK_DRIVER_FILES: '/nowhere', VK_ICD_FILENAMES: '/nowhere' };
  const node = await lab.run(['node', '--device', 'webgpu', '--json', '--data-dir', lab.dataDir('node')], {
    env: noDriver,
  });
  assert.equal(node.code, 5);
  const { error } = JSON.parse(node.stdout) as { error: { code: string; message: string } };
  assert.equal(error.code, 'DEVICE_UNAVAILABLE');
  assert.match(error.message, /No supported adapters.*vulkaninfo/);
  assert.equal(existsSync(lab.dataDir('node')), false);

  const listed = await lab.run(['devices', '--json'], { env: noDriver });
  const { devices } = JSON.parse(listed.stdout) as { devices: { device: string; usable: boolean; note: string }[] };
  assert.deepEqual(
    devices.map(({ device, usable }) => [device, usable]),
    [
      ['cpu', true],
      ['webgpu', false],
      ['cuda', false],
    ],
  );
  assert.match(devices[1]!.note, /No supported adapters/);
});

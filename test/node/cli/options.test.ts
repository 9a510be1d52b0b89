// Values of flags: sizes, counts, ports, directories.

import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { InvalidArgumentError } from 'commander';
import {
  defaultDataDir,
  MAX_COUNT,
  parseBytes,
  parseCount,
  parsePort,
  parsePositive,
} from '../../../node/cli/options.ts';
import { createProgram } from '../../../node/cli/program.ts';

test('sizes take decimal and binary units', () => {
  const sizes = { '4096': 4096, '10GB': 1e10, '1.5 GiB': 1.5 * 2 ** 30, '512mib': 2 ** 29, '2k': 2000, '7 B': 7 };
  for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseBytes(text), bytes, text);
  for (const text of ['', 'GB', '-1GB', '1TB', '1e9', 'NaN', '1 0GB', '0x10']) {
    assert.throws(() => parseBytes(text), InvalidArgumentError, text);
  }
});

test('counts are whole and bounded, ports leave room for the WebSocket beside them', () => {
  assert.deepEqual(['0', '7', String(MAX_COUNT)].map(parseCount), [0, 7, MAX_COUNT]);
  assert.throws(() => parseCount(String(MAX_COUNT + 1)), InvalidArgumentError);
  for (const text of ['', '-1', '1.5', '1e3', '9999999999', ' 1', 'x']) {
    assert.throws(() => parseCount(text), InvalidArgumentError, text);
  }
  assert.equal(parsePositive('1'), 1);
  assert.throws(() => parsePositive('0'), InvalidArgumentError);
  assert.deepEqual(['0', '4001', '65534'].map(parsePort), [0, 4001, 65_534]);
  for (const text of ['65535', '70000', '-1']) assert.throws(() => parsePort(text), InvalidArgumentError, text);
});

test('the data directory is the flag, else MURMUR_HOME, else ~/.murmur', (t) => {
  const before = process.env['MURMUR_HOME'];
  t.after(() => {
    if (before === undefined) delete process.env['MURMUR_HOME'];
    else process.env['MURMUR_HOME'] = before;
  });
  process.env['MURMUR_HOME'] = '/srv/murmur';
  assert.equal(defaultDataDir(), '/srv/murmur');
  for (const unset of ['', undefined]) {
    if (unset === undefined) delete process.env['MURMUR_HOME'];
    else process.env['MURMUR_HOME'] = unset;
    assert.equal(defaultDataDir(), join(homedir(), '.murmur'));
  }
});

test('flags of a role come out with units applied and defaults filled in', async () => {
  const program = createProgram();
  const node = program.commands.find((command) => command.name() === 'node')!;
  node.action(() => {});
  await program.parseAsync(
    ['node', '--join', '/ip4/1.2.3.4/tcp/1', '--join', '/dns4/a/tcp/2', '--max-disk', '1GB', '--data-dir', 'here'],
    { from: 'user' },
  );
  const options = node.opts();
  assert.deepEqual(options['join'], ['/ip4/1.2.3.4/tcp/1', '/dns4/a/tcp/2']);
  assert.equal(options['maxDisk'], 1e9);
  assert.equal(options['dataDir'], resolve('here'));
  assert.deepEqual(
    ['network', 'port', 'mdns', 'loopback', 'logLevel', 'json', 'device', 'threads'].map((name) => options[name]),
    ['main', 0, true, false, 'info', false, 'cpu', undefined],
  );
});

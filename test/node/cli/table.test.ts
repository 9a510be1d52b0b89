// Text for people: cells, aligned columns, indented trees.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cell, table, tree } from '../../../node/cli/table.ts';

const ID = 'ab'.repeat(32);
const PEER = `12D3KooW${'x'.repeat(36)}abcdefgh`;

test('cells shorten ids and round numbers', () => {
  assert.deepEqual([null, undefined, 3, 0.12345, true, false, 'text', ID, PEER].map(cell), [
    '–',
    '–',
    '3',
    '0.123',
    'yes',
    'no',
    'text',
    'abababababab',
    '…abcdefgh',
  ]);
  assert.equal(cell([1, ID, null]), '1 abababababab –');
  assert.equal(cell({ a: 1, b: undefined, c: 'x' }), 'a 1, c x');
  assert.deepEqual([{ b: undefined }, []].map(cell), ['none', 'none']);
  assert.deepEqual([1e-4, -2.345e-5, 0.00099, 0.001].map(cell), ['0.0001', '-0.000023', '0.00099', '0.001']);
});

test('a table has the columns of all rows, in order of appearance, aligned', () => {
  assert.equal(table([], 'nothing yet'), 'nothing yet\n');
  assert.equal(
    table(
      [
        { name: 'a', count: 10 },
        { name: 'longer', extra: true },
      ],
      '',
    ),
    ['name    count  extra', 'a       10     –', 'longer  –      yes', ''].join('\n'),
  );
});

test('a tree indents objects and lists of objects, and says none of what is empty', () => {
  const text = tree({
    role: 'node',
    memoryMiB: 80,
    left: undefined,
    ignored: {},
    addresses: ['/ip4/127.0.0.1/tcp/1', '/ip4/127.0.0.1/tcp/2/ws'],
    delay: { mean: 0.5 },
    recipes: [{ name: 'r', step: 3 }],
  });
  assert.equal(
    text,
    [
      'role       node',
      'memoryMiB  80',
      'ignored    none',
      'addresses  /ip4/127.0.0.1/tcp/1 /ip4/127.0.0.1/tcp/2/ws',
      'delay',
      '  mean  0.500',
      'recipes',
      '  name  step',
      '  r     3',
      '',
    ].join('\n'),
  );
});

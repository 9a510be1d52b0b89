// The graph builder: dimensions, shapes checked while a graph is built, errors that name node, operator and shapes.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GraphBuilder } from '../../../../node/model/graph/builder.ts';
import { addDims, divideDims, multiplyDims } from '../../../../node/model/graph/dim.ts';
import { encodeModel, requiredInputs } from '../../../../node/model/graph/encode.ts';
import {
  add,
  exp,
  expand,
  fill,
  gemm,
  logSoftmax,
  mul,
  range,
  reduceSum,
  reshape,
  transpose,
  where,
} from '../../../../node/model/graph/ops.ts';
import { SwarmError } from '../../../../node/protocol/errors.ts';
import { float32, runGraph, values } from '../../../support/run-graph.ts';

const failsWith =
  (code: string, ...words: readonly string[]) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof SwarmError);
    assert.equal(error.code, code);
    for (const word of words) assert.ok(error.message.includes(word), `"${error.message}" does not name ${word}`);
    return true;
  };

describe('dimensions', () => {
  test('products are canonical', () => {
    assert.equal(multiplyDims(['tokens', 4, 'batch', 2]), '8*batch*tokens');
    assert.equal(multiplyDims(['8*batch*tokens', 'heads']), '8*batch*heads*tokens');
    assert.equal(multiplyDims([]), 1);
    assert.equal(divideDims('8*batch*tokens', '4*tokens'), '2*batch');
    assert.equal(divideDims('8*batch', 'tokens'), null);
    assert.equal(divideDims(9, 2), null);
  });

  test('sums are opaque factors', () => {
    assert.equal(addDims([2, 3]), 5);
    assert.equal(addDims(['cache', 1]), '(cache+1)');
    assert.equal(multiplyDims([2, addDims(['cache', 1])]), '2*(cache+1)');
  });
});

describe('graph builder', () => {
  test('runs what it builds, with symbolic shapes worked out at run time', async () => {
    const g = new GraphBuilder('test');
    const x = g.input('x', 'float32', ['batch', 'tokens', 6]);
    const flat = reshape(x, ['batch*tokens', 6]);
    const heads = transpose(reshape(flat, ['batch', 'tokens', 2, 3]), [0, 2, 1, 3]);
    g.output('heads', heads);
    g.output('sum', reduceSum(mul(heads, 2), { axes: [-1] }));
    const data = Array.from({ length: 24 }, (_, k) => k);
    const result = await runGraph(g, { x: float32(data, [2, 2, 6]) });
    assert.deepEqual(result.heads!.dims, [2, 2, 2, 3]);
    assert.deepEqual(values(result.sum), [6, 42, 24, 60, 78, 114, 96, 132]);
  });

  test('makes ranges, fills and broadcasts of run-time size', async () => {
    const g = new GraphBuilder('test');
    const x = g.input('x', 'float32', ['rows', 'columns']);
    const ones = fill(g, ['columns', 'rows'], 1);
    g.output('range', range(g, 'rows*columns'));
    g.output('wide', expand(reduceSum(x, { axes: [0], keepDims: true }), ['rows', 'columns']));
    g.output('product', gemm(x, ones));
    const result = await runGraph(g, { x: float32([1, 2, 3, 4, 5, 6], [2, 3]) });
    assert.deepEqual(values(result.range), [0, 1, 2, 3, 4, 5]);
    assert.deepEqual(values(result.wide), [5, 7, 9, 5, 7, 9]);
    assert.deepEqual(values(result.product), [6, 6, 15, 15]);
  });

  test('shares equal subexpressions and leaves out what no output needs', () => {
    const g = new GraphBuilder('test');
    const x = g.input('x', 'float32', [3]);
    const unused = g.input('unused', 'float32', [3]);
    assert.equal(exp(x), exp(x));
    assert.notEqual(add(x, 1), add(x, 2));
    add(unused, 1);
    g.output('y', exp(x));
    assert.deepEqual(requiredInputs(g), ['x']);
    assert.ok(encodeModel(g).length > 0);
  });

  test('names an output twice, or an input, without losing either', async () => {
    const g = new GraphBuilder('test');
    const x = g.input('x', 'float32', [2]);
    const y = add(x, 1);
    g.output('a', y);
    g.output('b', y);
    g.output('same', x);
    const result = await runGraph(g, { x: float32([1, 2], [2]) });
    assert.deepEqual(
      [values(result.a), values(result.b), values(result.same)],
      [
        [2, 3],
        [2, 3],
        [1, 2],
      ],
    );
  });
});

describe('graph errors name node, operator and shapes', () => {
  const g = new GraphBuilder('test');
  const a = g.input('a', 'float32', ['batch', 4]);
  const b = g.input('b', 'float32', [5, 4]);
  const ids = g.input('ids', 'int64', ['batch']);

  test('shapes', () => {
    assert.throws(() => gemm(a, b), failsWith('GRAPH_SHAPE', 'Gemm', '[batch, 4]', '[5, 4]', 'a', 'b'));
    assert.throws(() => add(a, b), failsWith('GRAPH_SHAPE', 'Add', '[batch, 4]', '[5, 4]'));
    assert.throws(() => reshape(a, ['batch', 5]), failsWith('GRAPH_SHAPE', 'Reshape', '[batch, 5]'));
    assert.throws(() => transpose(a, [0, 0]), failsWith('GRAPH_SHAPE', 'Transpose'));
    assert.throws(() => reduceSum(a, { axes: [2] }), failsWith('GRAPH_SHAPE', 'ReduceSum', 'axis 2'));
    assert.throws(() => range(g, 'nobody'), failsWith('GRAPH_SHAPE', 'nobody'));
    assert.throws(() => encodeModel(new GraphBuilder('empty')), failsWith('GRAPH_SHAPE', 'empty'));
  });

  test('types', () => {
    assert.throws(() => logSoftmax(ids), failsWith('GRAPH_TYPE', 'LogSoftmax', 'int64'));
    assert.throws(() => add(a, ids), failsWith('GRAPH_TYPE', 'float32', 'int64'));
    assert.throws(() => where(a, a, 0), failsWith('GRAPH_TYPE', 'Where', 'bool'));
    const other = new GraphBuilder('other').input('x', 'float32', [4]);
    assert.throws(() => add(a, other), failsWith('GRAPH_TYPE', 'other'));
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createHistogram } from '../../../verifier/calibration/histogram.ts';

test('quantiles are within 1.2 % of those of the values, also continued from its state', () => {
  const value = fc.oneof(fc.constant(0), fc.constant(Number.POSITIVE_INFINITY), fc.double({ min: 1e-30, max: 1e30 }));
  const values = fc.array(
    value.filter((each) => !Number.isNaN(each)),
    { minLength: 1, maxLength: 50 },
  );
  fc.assert(
    fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (list, q) => {
      const half = createHistogram();
      for (const each of list.slice(0, list.length >> 1)) half.add(each);
      const whole = createHistogram(JSON.parse(JSON.stringify(half.state())));
      for (const each of list.slice(list.length >> 1)) whole.add(each);
      const exact = list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(q * list.length))]!;
      const found = whole.quantile(q);
      assert.ok(found === exact || Math.abs(found / exact - 1) < 0.0121, `${found}, ${exact}`);
    }),
  );
  assert.equal(createHistogram().quantile(0.5), 0);
});

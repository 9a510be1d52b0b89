// Training graphs keep up with the longest sequence: built anew only for one that is longer than their tables.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tablePositions } from '../../../node/model/llama/positions.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { createGrowingSessions } from '../../../trainer/engine/growing-sessions.ts';
import type { GraphRunner } from '../../../trainer/engine/sessions.ts';
import { randomModel } from '../../support/random-model.ts';

const ofTokens = (tokens: number) => [{ prompt: new Uint32Array(10), tokens: new Uint32Array(tokens - 10) }];

test('tables have 8192 positions at least, double to what is asked for, and end with the model’s own', () => {
  const positionsFor = (maxPositions: number, tokens: number): number => tablePositions({ maxPositions }, tokens);
  assert.equal(positionsFor(131_072, 5), 8_192);
  assert.equal(positionsFor(131_072, 8_192), 8_192);
  assert.equal(positionsFor(131_072, 8_193), 16_384);
  assert.equal(positionsFor(131_072, 100_000), 131_072);
  assert.equal(positionsFor(40_000, 33_000), 40_000);
  assert.equal(positionsFor(2_048, 5_000), 2_048);
});

test('sessions are built anew for longer sequences, the old ones released, never for shorter ones', async () => {
  const { config } = randomModel({ maxPositions: 20_000 });
  const log: string[] = [];
  const sessions = createGrowingSessions(config, ({ maxPositions }) => {
    log.push(`build ${maxPositions}`);
    return {
      get: async (kind) => void log.push(`${kind} ${maxPositions}`) as unknown as GraphRunner,
      release: async () => void log.push(`release ${maxPositions}`),
    };
  });
  for (const tokens of [20, 8_000, 9_000, 20, 16_500]) await sessions.get('policy', ofTokens(tokens));
  await assert.rejects(sessions.get('policy', ofTokens(20_001)), (error) => isSwarmError(error, 'TOO_LARGE'));
  await sessions.release();
  assert.deepEqual(log, [
    ...['build 8192', 'policy 8192', 'policy 8192'],
    ...['release 8192', 'build 16384', 'policy 16384', 'policy 16384'],
    ...['release 16384', 'build 20000', 'policy 20000', 'release 20000'],
  ]);
});

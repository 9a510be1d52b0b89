// What `murmur peers` says of a peer in one line of a terminal.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { peerLine } from '../../../node/cli/roles/inspect.ts';
import { createStanding } from '../../../verifier/standing.ts';
import { memoryRecords } from '../../support/memory-store.ts';

const SETTINGS = { probationGroups: 2, pMin: 0.1, quarantineSteps: 14, delta: 1e-4 };
const PEER = 'a peer';

test('the standing of a peer, from its first group to its quarantine', async () => {
  const standing = createStanding({ records: memoryRecords() }, { scope: 'recipe', settings: SETTINGS });
  const said = (): unknown => peerLine({ ...standing.of(PEER) })['standing'];
  const accept = { policyStep: 3, answer: 'accept', code: null, whole: true } as const;
  assert.equal(said(), 'probation 0/2');
  await standing.record(PEER, accept);
  assert.equal(said(), 'probation 1/2');
  for (let i = 0; i < 3; i++) await standing.record(PEER, accept);
  assert.equal(said(), 'trust 0.50, 50 % whole');
  await standing.record(PEER, { ...accept, answer: 'reject', code: 'LOGPROB_DRIFT' });
  assert.equal(said(), 'probation 0/2 again');
  await standing.record(PEER, { ...accept, answer: 'reject', code: 'LOGPROB_DRIFT' });
  assert.equal(said(), 'quarantined to step 17');
  standing.countSlack(PEER, 500, 1);
  const { accepted, rejected, lastCode, whole, tokens, soft, leftOut } = peerLine({ ...standing.of(PEER) });
  assert.deepEqual(
    [accepted, rejected, lastCode, whole, tokens, soft, leftOut],
    [4, 2, 'LOGPROB_DRIFT', 6, 500, 1, null],
  );
});

test('a peer that no verifier here knows has no standing', () => {
  const { standing, leftOut, address } = peerLine({ peer: PEER, address: '/ip4/127.0.0.1/tcp/1/p2p/12D3KooX' });
  assert.deepEqual([standing, leftOut, address], [null, null, '/ip4/127.0.0.1/tcp/1']);
  assert.equal(peerLine({ slotsLeftOut: 0.254 })['leftOut'], '25 %');
});

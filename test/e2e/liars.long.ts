// Liars as processes over loopback: a ring whose trainer verifies, an honest node, one with altered weights, and a process of
// liars (attacks/liar-process.ts). Every liar ends in quarantine, the honest node loses nothing, and training goes on. Two verifiers
// lie as well: the trainer silences the one that rejects honest groups, and takes the standing of the one that accepts everything.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReplayReport } from '../../node/cli/replay-report.ts';
import type { VerifierStanding } from '../../verifier/verifier-standing.ts';
import { startLiars } from '../support/liars.ts';
import { murmurLab } from '../support/murmur-process.ts';
import { askUntil, startRing } from '../support/ring.ts';

interface PeerRow {
  readonly peer: string;
  readonly asVerifier?: VerifierStanding;
}

interface VerdictRow {
  readonly groupId: string;
  readonly by: string;
  readonly answer: string;
}

const EXACT: Readonly<Record<string, string>> = { inflate: 'REWARD_MISMATCH', copy: 'PROMPT_MISMATCH' };

test('every liar among the processes is quarantined, no honest one is', { timeout: 240_000 }, async (t) => {
  const lab = await murmurLab(t);
  const { trainer, trainerPeer, joined } = await startRing(lab);
  const honest = lab.start('honest', ['node', ...joined]);
  const altered = lab.start('altered', ['node', ...joined, '--alter-weights', '0.05']);
  const swarm = { dir: lab.dir, address: joined.at(-1)!, network: 'ring' };
  const [liars, judges] = await Promise.all([
    startLiars(t, { ...swarm, lies: ['inflate', 'edit', 'copy'] }),
    startLiars(t, { ...swarm, lies: ['acceptAll', 'rejectAll'] }),
  ]);
  liars.set('altered', (await altered.event('listening')).peerId);
  // From the beginning: who was never right is forgotten some steps after it was last wrong.
  const standingOf = async (judge: string, suits: (found: VerifierStanding) => boolean): Promise<VerifierStanding> => {
    const find = (rows: readonly PeerRow[]): VerifierStanding | undefined =>
      rows.find((row) => row.peer === judges.get(judge))?.asVerifier;
    const isThere = (rows: readonly PeerRow[]): boolean => {
      const found = find(rows);
      return found !== undefined && suits(found);
    };
    return find(await askUntil<readonly PeerRow[]>(lab, 'trainer', 'peers', isThere, 120_000))!;
  };
  const judged = Promise.all([
    standingOf('rejectAll', ({ silencedUntilStep }) => silencedUntilStep !== null),
    standingOf('acceptAll', ({ contradicted }) => contradicted > 0),
  ]);
  judged.catch(() => undefined); // heard of below
  for (const [lie, peerId] of liars) {
    await trainer.event('quarantined', (each) => each.peerId === peerId);
    const { code } = await trainer.event('rejected', (each) => each.peerId === peerId);
    if (EXACT[lie] !== undefined) assert.equal(code, EXACT[lie], lie);
    else assert.match(code, /^(REPLAY_MISMATCH|LOGPROB_DRIFT|TOPLOC_MISMATCH)$/, lie);
  }
  const { peerId } = await honest.event('listening');
  const { policyStep } = await trainer.event('step');
  await trainer.event('step', (step) => step.policyStep > policyStep);
  assert.deepEqual(
    trainer.events.filter(
      (each) => (each.event === 'rejected' || each.event === 'quarantined') && each.peerId === peerId,
    ),
    [],
  );

  await t.test('what verifiers said was repeated, and is shown', async () => {
    const [rejectAll, acceptAll] = await judged;
    assert.equal(rejectAll.standing, 0);
    assert.equal(acceptAll.silencedUntilStep, null);
    await trainer.interrupt(20_000);
    const dataDir = ['--data-dir', lab.dataDir('trainer')];
    const verdicts = (await lab.ask(['verdicts', '--limit', '100000', ...dataDir])) as readonly VerdictRow[];
    const { groupId } = verdicts.findLast((row) => row.by === trainerPeer && row.answer === 'accept')!;
    const own = ['--by', trainerPeer, '--threads', '1', ...dataDir];
    const replayed = (await lab.ask(['replay', groupId, ...own])) as ReplayReport;
    assert.deepEqual([replayed.agrees, replayed.isWhole, replayed.answer.answer], [true, true, 'accept']);
  });
});

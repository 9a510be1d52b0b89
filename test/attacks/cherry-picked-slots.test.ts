// A liar looks at its groups before it shows them: leaves slots out, shows two versions of one, or withholds a body.

import assert from 'node:assert/strict';
import { MAX_PARKED } from '../../verifier/lanes.ts';
import { scriptedPolicy } from '../verifier/support/scripted-policy.ts';
import { attack } from './support.ts';

attack('a slot left out: nothing after it is ever judged', async (scene) => {
  const groups = [0, 2, 3].map((slot) => scene.lie(slot, {}));
  assert.deepEqual(await scene.judge(...groups), ['accept', null, null]);
  await scene.settle(31_000);
  assert.deepEqual(groups.map(scene.verdictOn), ['accept', 'ignore BODY_MISSING', 'ignore BODY_MISSING']);
  const tooLate = scene.lie(1, {});
  assert.deepEqual(await scene.judge(tooLate), ['ignore BODY_MISSING']);
  assert.equal(scene.isQuarantined(), false, 'late is not lying');
});

attack('a gap cannot be used to fill memory', async (scene) => {
  const groups = Array.from({ length: MAX_PARKED + 1 }, (_, i) => scene.lie(i + 1, {}));
  const verdicts = await scene.judge(...groups);
  assert.deepEqual(
    verdicts.slice(0, -1),
    Array.from({ length: MAX_PARKED }, () => null),
  );
  assert.equal(verdicts.at(-1), 'ignore TOO_MANY_PARKED');
});

attack('a body withheld closes the step', async (scene) => {
  const [first, withheld, after] = [0, 1, 2].map((slot) => scene.lie(slot, {}));
  await scene.announce(first!);
  await scene.announce(withheld!, { withBody: false });
  await scene.announce(after!);
  await scene.settle(31_000);
  assert.deepEqual(
    [first, withheld, after].map((group) => scene.verdictOn(group!)),
    ['accept', 'ignore BODY_MISSING', 'ignore BODY_MISSING'],
  );
});

attack('two bodies for one slot: both dropped, back to probation', async (scene) => {
  const first = scene.lie(0, {});
  const second = scene.lie(0, { policy: scriptedPolicy('second try') });
  assert.deepEqual(await scene.judge(first), ['accept']);
  await scene.judge(second);
  assert.deepEqual([first, second].map(scene.verdictOn), ['reject SLOT_EQUIVOCATION', 'reject SLOT_EQUIVOCATION']);
  const standing = scene.verifier.standing.of(scene.liar.peerIdString);
  assert.deepEqual([standing.onProbation, standing.secondChance, standing.probationPassed], [true, true, 0]);
  assert.deepEqual(await scene.judge(scene.lie(1, {})), ['ignore SLOT_EQUIVOCATION']);
});

attack('one slot in two encodings of the same tokens is no lie', async (scene) => {
  const first = scene.lie(0, {});
  const second = scene.lie(0, {
    body: (body) => ({
      ...body,
      sequences: body.sequences.map((each) => ({ ...each, logprobs: each.logprobs.map((value) => value - 1e-6) })),
    }),
  });
  assert.deepEqual(await scene.judge(first, second), ['accept', 'ignore SLOT_SEEN']);
});

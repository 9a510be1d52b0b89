// Several users of one engine: what one unloads stays while another wants it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shareEngine } from '../../../../node/model/engine/shared.ts';
import { scriptedEngine } from '../../../support/scripted-engine.ts';

const policy = (policyRoot: string) => ({ policyRoot, configJson: '', weightsFile: '' });

test('a policy leaves when the last of its users unloads it, however often each loaded it', async () => {
  const engine = scriptedEngine(8);
  const shared = shareEngine(engine);
  const [one, other] = [shared.user(), shared.user()];
  await one.load(policy('a'));
  await one.load(policy('a'));
  await other.load(policy('a'));
  await one.load(policy('b'));
  await one.unload('a');
  assert.deepEqual([...engine.loaded].sort(), ['a', 'b']);
  await one.unload('a');
  assert.ok(engine.loaded.has('a'), 'unloading twice takes nothing from the other');
  await other.unload('a');
  assert.deepEqual([...engine.loaded], ['b']);
  await other.unload('b');
  assert.deepEqual([...engine.loaded], ['b'], 'who never loaded it cannot unload it');
});

test('a user that closes lets go of its own policies only', async () => {
  const engine = scriptedEngine(8);
  const shared = shareEngine(engine);
  const [one, other] = [shared.user(), shared.user()];
  for (const root of ['a', 'b']) await one.load(policy(root));
  await other.load(policy('b'));
  await one.close();
  assert.deepEqual([...engine.loaded], ['b']);
  await other.close();
  assert.equal(engine.loaded.size, 0);
});

test('an unload does not overtake the load of another', async () => {
  const engine = scriptedEngine(8);
  const shared = shareEngine(engine);
  const [one, other] = [shared.user(), shared.user()];
  await one.load(policy('a'));
  const loading = other.load(policy('a'));
  await one.unload('a');
  await loading;
  assert.ok(engine.loaded.has('a'));
});

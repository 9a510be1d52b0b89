// Where a run goes on after a crash: the newest whole checkpoint, and the policy that belongs to it.
// Source: spec/grpo.md "Exactly once". Invariant: a policy step that is out never gets another root.

import { readFile } from 'node:fs/promises';
import { toHex } from '../node/protocol/bytes.ts';
import type { Publication } from './publication.ts';
import { metaOf, type RunState, stateOf } from './run-state.ts';
import type { TrainerComponents, TrainerInit } from './trainer-ports.ts';

/**
 * Where the newest checkpoint stands, or a first one of the starting weights.
 * @returns the checkpoint's folder too, when it holds a step that was trained
 * @throws {SwarmError} CHECKPOINT_CORRUPT when it is of another run, DISK_FULL
 */
export async function resume(
  components: Pick<TrainerComponents, 'engine' | 'chain' | 'logger'>,
  init: Pick<TrainerInit, 'recipe' | 'checkpointDir'>,
): Promise<{ readonly state: RunState; readonly checkpoint: string | null }> {
  const { engine, chain, logger } = components;
  const { recipeIdHex } = init.recipe;
  const restored = await engine.restore(init.checkpointDir);
  if (restored === null) {
    const policyRoot = toHex((await engine.policy()).policyRoot);
    const state = { trainStep: 0, policyStep: 0, policyRoot, parentRoot: null, lastConsumed: [], consumed: [] };
    await engine.saveCheckpoint(init.checkpointDir, metaOf(state, recipeIdHex));
    return { state, checkpoint: null };
  }
  for (const skipped of restored.skipped) logger.warn(skipped, 'a broken checkpoint was passed over');
  const state = stateOf(restored.meta, recipeIdHex);
  logger.info({ trainStep: state.trainStep, policyStep: state.policyStep }, 'taken up from a checkpoint');
  // A policy of ours may be out that a lost checkpoint held: its step is never given another root, we go on behind it.
  const out = chain.announced();
  if (out === null || out.policyStep < state.policyStep || out.policyRoot === state.policyRoot) {
    return { state, checkpoint: restored.path };
  }
  logger.warn({ published: out.policyStep, checkpoint: state.policyStep }, 'going on behind what was published');
  const { policyStep, policyRoot } = out;
  return {
    state: { ...state, policyStep, policyRoot, parentRoot: chain.at(policyStep - 1)?.policyRoot ?? null },
    checkpoint: restored.path,
  };
}

/** Publishes the policy that a state stands at once more: the crash may have come before anybody heard of it. */
export async function publishCurrent(
  components: Pick<TrainerComponents, 'engine' | 'chain'>,
  publication: Publication,
  state: RunState,
  checkpoint: string | null,
): Promise<void> {
  const { engine, chain } = components;
  const { safetensors, policyRoot } = await engine.policy();
  if (toHex(policyRoot) === state.policyRoot) return publication.publish(state, safetensors, checkpoint);
  // Steps were taken since the last publication; its bytes are in the policy's folder.
  const files = await chain.files(state.policyRoot);
  if (files === null || (state.parentRoot === null && state.policyStep > 0)) return;
  await publication.publish(state, await readFile(files.weightsFile), checkpoint);
}

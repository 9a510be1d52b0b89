// The table of losses a recipe may name.
// Source: spec/grpo.md §Losses. A new loss is a file here, a line below, and its name and settings in recipes/sections.ts.
// Invariant: nothing else in the trainer asks which loss it is.

import { SwarmError } from '../../node/protocol/errors.ts';
import { aipo } from './aipo.ts';
import { cispo } from './cispo.ts';
import { dapo } from './dapo.ts';
import { decoupled } from './decoupled.ts';
import { dppo } from './dppo.ts';
import { grpo } from './grpo.ts';
import { gspo } from './gspo.ts';
import { icepop } from './icepop.ts';
import type { LossRule, LossSettings } from './loss.ts';

export type LossName = 'grpo' | 'dapo' | 'gspo' | 'cispo' | 'aipo' | 'icepop' | 'dppo' | 'decoupled';

/** Every loss by its name in a recipe. */
export const LOSSES: Readonly<Record<LossName, LossRule>> = { grpo, dapo, gspo, cispo, aipo, icepop, dppo, decoupled };

/**
 * Settings of a loss with its defaults filled in.
 * @throws {SwarmError} RECIPE_INVALID for a setting that the loss does not have
 */
export function lossSettings(name: LossName, given: LossSettings): LossSettings {
  const { defaults } = LOSSES[name];
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(defaults, key)) continue;
    throw new SwarmError(
      'RECIPE_INVALID',
      `loss ${name} has no setting ${key}; it has ${Object.keys(defaults).join(', ')}`,
      {
        loss: name,
        setting: key,
      },
    );
  }
  return { ...defaults, ...given };
}

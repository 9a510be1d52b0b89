// The task families this build knows, by the name and version a recipe gives them.

import { RecipeError } from '../error.ts';
import { arrows } from './arrows.ts';
import { largest } from './largest.ts';
import { sorting } from './sorting.ts';
import { sums } from './sums.ts';
import { type TaskFamily, taskId } from './task.ts';

const FAMILIES: ReadonlyMap<string, TaskFamily<unknown>> = new Map(
  ([arrows, largest, sorting, sums] as readonly TaskFamily<unknown>[]).map((family) => [taskId(family), family]),
);

/** All families with the names recipes give them, in order. */
export function taskFamilies(): readonly (readonly [string, TaskFamily<unknown>])[] {
  return [...FAMILIES];
}

/** Names of all families, such as `arrows@1`, in order. */
export function knownTasks(): readonly string[] {
  return [...FAMILIES.keys()];
}

/**
 * The family of that name and version.
 * @throws {RecipeError} RECIPE_UNKNOWN_TASK, listing those that are known
 */
export function taskFamily(id: string): TaskFamily<unknown> {
  const family = FAMILIES.get(id);
  if (family !== undefined) return family;
  throw new RecipeError(
    'RECIPE_UNKNOWN_TASK',
    `unknown task ${JSON.stringify(id.slice(0, 80))}: this build knows ${knownTasks().join(', ')}; correct the name or update`,
    { task: id.slice(0, 80) },
  );
}

// The announcement of a recipe: which blob is its canonical JSON (that hash is the recipeId), and when it was sent.
// Source: kind "recipe" of spec/wire.md (announced by id, fetched as a blob).

import { type BlobRef, blobRefFromWire, blobRefToWire } from './blob-ref.ts';
import { decodeMessage, encodeMessage, integerField, required, toBigInt } from './codec.ts';
import { MAX_TIME_MS, PAYLOAD_MAX_BYTES, RECIPE_MAX_BYTES } from './limits.ts';
import { RecipeAnnouncementSchema } from './messages_pb.ts';

export interface RecipeAnnouncement {
  /** `recipe.hash` is the recipeId */
  readonly recipe: BlobRef;
  readonly timeMs: number;
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function encodeRecipeAnnouncement(announcement: RecipeAnnouncement): Uint8Array {
  return encodeMessage(
    RecipeAnnouncementSchema,
    'recipe announcement',
    { recipe: blobRefToWire(announcement.recipe), timeMs: toBigInt('timeMs', announcement.timeMs) },
    decodeRecipeAnnouncement,
  );
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function decodeRecipeAnnouncement(bytes: Uint8Array): RecipeAnnouncement {
  const wire = decodeMessage(RecipeAnnouncementSchema, 'recipe announcement', bytes, PAYLOAD_MAX_BYTES);
  return {
    recipe: blobRefFromWire('recipe', required('recipe', wire.recipe), RECIPE_MAX_BYTES),
    timeMs: integerField('timeMs', wire.timeMs, 0, MAX_TIME_MS),
  };
}

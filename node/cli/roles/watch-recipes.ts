// Which recipes a role takes up: those that are open and fit their model, or the one that it was asked for.
// Invariant: one that does not fit its model is never tried again.

import { type ErrorCode, errorText, isSwarmError } from '../../protocol/errors.ts';
import type { KnownRecipe } from '../recipe-book.ts';
import type { RoleContext } from './role.ts';

interface RecipeWatch {
  /** id, its beginning, or name: only that recipe, open or not */
  readonly wanted: string | undefined;
  readonly onOpen: (known: KnownRecipe) => Promise<void>;
  /** whether a recipe may be taken up while another still waits for its first policy. Default false */
  readonly together?: boolean;
  /** whether what is worked on gives nothing to do: another open recipe is taken up again then */
  readonly isStalled?: () => boolean;
}

/** What a recipe and its model are and stay: trying again would cost the same again, and come to the same. */
const MISFITS: readonly ErrorCode[] = [
  'TOKENIZER_TOO_SLOW',
  'RECIPE_INVALID',
  'TEXT_NOT_ENCODABLE',
  'CHAT_TEMPLATE_MISSING',
  'CHAT_TEMPLATE_FAILED',
];

/**
 * What is taken up unasked: recipes in all, those open at once, and of these of one author. Whoever makes recipes is a stranger, and
 * what is followed stays until the process ends. Our own.
 */
export const MAX_TAKEN = 64;
export const MAX_OPEN = 16;
const MAX_OPEN_PER_AUTHOR = 4;

/** Calls `onOpen` for recipes as they become known and open, and fit their model. */
export function watchRecipes(context: RoleContext, init: RecipeWatch): void {
  const { book, logger } = context.participant;
  const { wanted, onOpen, together = false, isStalled = () => false } = init;
  const starting: Promise<void>[] = [];
  const taken = new Set<string>();
  /** never taken up again */
  const refused = new Set<string>();
  let newest: string | null = null;
  let isFull = false;
  const take = async (known: KnownRecipe): Promise<void> => {
    const id = known.resolved.recipeIdHex;
    const before = newest;
    taken.add(id);
    newest = id;
    context.emit({ event: 'recipe', recipeId: id, name: known.resolved.recipe.name, state: 'working' });
    await onOpen(known).catch((error: unknown) => {
      newest = before;
      if (isSwarmError(error, ...MISFITS)) {
        refused.add(id);
        logger.error({ recipeId: id, error: errorText(error) }, 'left a recipe for good');
        return;
      }
      taken.delete(id);
      logger.error({ recipeId: id, error: errorText(error) }, 'could not start to work on a recipe; trying again');
    });
  };
  const hasRoom = (open: readonly KnownRecipe[], { author }: KnownRecipe): boolean => {
    const working = open.filter(({ resolved: { recipeIdHex: id } }) => taken.has(id) && !refused.has(id));
    const ofAuthor = working.filter((each) => each.author === author).length;
    return taken.size < MAX_TAKEN && working.length < MAX_OPEN && ofAuthor < MAX_OPEN_PER_AUTHOR;
  };
  const look = async (): Promise<void> => {
    if (wanted !== undefined) {
      const known = book.find(wanted);
      if (known !== undefined && !taken.has(known.resolved.recipeIdHex)) await take(known);
      return;
    }
    const open = book.list().filter(({ resolved }) => book.isOpen(resolved.recipeIdHex));
    let isFresh = false;
    for (const known of open) {
      if (taken.has(known.resolved.recipeIdHex)) continue;
      if (!hasRoom(open, known)) {
        if (!isFull)
          logger.warn(
            { recipeId: known.resolved.recipeIdHex },
            'as many recipes as are taken up unasked: name one by --recipe',
          );
        isFull = true;
        continue;
      }
      isFresh = true;
      const start = take(known);
      if (together) starting.push(start);
      else await start;
    }
    if (isFresh || !isStalled()) return;
    const other = lastHeard(
      open.filter(({ resolved: { recipeIdHex } }) => recipeIdHex !== newest && !refused.has(recipeIdHex)),
    );
    if (other !== undefined) await take(other);
  };
  let turn = Promise.resolve();
  const timer = setInterval(() => {
    turn = turn.then(look);
  }, 500);
  context.onStop(async () => {
    clearInterval(timer);
    await turn;
    await Promise.all(starting);
  });
}

/** The recipe whose trainers were heard of last. */
function lastHeard(recipes: readonly KnownRecipe[]): KnownRecipe | undefined {
  return [...recipes].sort((a, b) => b.lastHeardMs - a.lastHeardMs)[0];
}

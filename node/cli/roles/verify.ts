// `murmur verify`: one verifier for each open recipe, sharing an engine.

import { createReplayChecker } from '../../../verifier/checker.ts';
import type { Verifier } from '../../../verifier/service.ts';
import { createPolicyEngine } from '../../model/engine/engine.ts';
import { shareEngine } from '../../model/engine/shared.ts';
import type { VerifyOptions } from '../commands/verify.ts';
import { choosePlacement } from '../compute.ts';
import { type RoleContext, runRole } from './role.ts';
import { shownVerifiers, standingRows, startVerifier, type VerifierWorkers } from './verifier.ts';
import { watchRecipes } from './watch-recipes.ts';

const TELL_EVERY_MS = 2_000;

export async function runVerify(options: VerifyOptions): Promise<number> {
  const placement = await choosePlacement(options, 'verify');
  return runRole(options, async (context) => {
    const engine = createPolicyEngine({
      ...placement,
      memoryBytes: options.memory,
      logger: context.participant.logger,
    });
    context.onStop(() => context.waitLast(engine.close()));
    const checker = createReplayChecker();
    context.onStop(() => checker.close());
    const workers: VerifierWorkers = { engine: shareEngine(engine), checker };
    const verifiers = new Map<string, Verifier>();
    watchRecipes(context, {
      wanted: options.recipe,
      together: true,
      onOpen: async (known) => {
        const followed = await context.participant.follow(known, { keep: 'all' });
        verifiers.set(known.resolved.recipeIdHex, await startVerifier(context, workers, followed));
      },
    });
    context.onStop(async () => {
      for (const verifier of verifiers.values()) await verifier.stop();
    });
    context.participant.setVerifier((id) => verifiers.get(id) ?? null);
    tellFigures(context, verifiers);
    return {
      view: {
        role: 'verifier',
        details: () => ({ verifier: shownVerifiers(verifiers) }),
        standing: () => standingRows(verifiers),
      },
    };
  });
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}

function tellFigures(context: RoleContext, verifiers: ReadonlyMap<string, Verifier>): void {
  let told = '';
  const timer = setInterval(() => {
    const all = [...verifiers.values()].map((verifier) => verifier.figures());
    if (all.length === 0) return;
    const total = (pick: (stats: (typeof all)[number]) => number): number =>
      all.reduce((n, stats) => n + pick(stats), 0);
    const figures = {
      accepted: total((s) => s.accepted),
      rejected: total((s) => sum(s.rejected)),
      ignored: total((s) => sum(s.ignored)),
      notChecked: total((s) => s.notChecked),
      waiting: total((s) => s.waiting),
      tokensPerSecond: total((s) => s.tokensPerSecond ?? 0),
    };
    if (JSON.stringify(figures) === told) return;
    told = JSON.stringify(figures);
    context.emit({ event: 'verdicts', ...figures });
  }, TELL_EVERY_MS);
  context.onStop(() => clearInterval(timer));
}

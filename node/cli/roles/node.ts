// `murmur node`: one rollout worker on the newest open recipe, or another while that one gives nothing to do; its figures
// told every two seconds.

import { MILLION } from '../../../recipes/rewards/reward.ts';
import { createPolicyEngine } from '../../model/engine/engine.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { SwarmError } from '../../protocol/errors.ts';
import type { PolicyEngine, Startable } from '../../protocol/ports.ts';
import { createProver, type ProverThread } from '../../rollout/prover.ts';
import { createRolloutWorker, type RolloutStats, type RolloutWorker } from '../../rollout/worker.ts';
import type { NodeOptions } from '../commands/node.ts';
import { choosePlacement } from '../compute.ts';
import type { FollowedRecipe } from '../participant.ts';
import type { KnownRecipe } from '../recipe-book.ts';
import { systemClock } from '../system.ts';
import { type RoleContext, runRole } from './role.ts';
import { waitForTokenizer } from './tokenizer.ts';
import { watchRecipes } from './watch-recipes.ts';

const TELL_EVERY_MS = 2_000;
/** A recipe that gives nothing to do for so long is left for another: its trainer may be gone. */
const STALLED_MS = 20_000;

export async function runNode(options: NodeOptions): Promise<number> {
  const alterWeights = options.alterWeights === undefined ? undefined : alteration(options);
  const placement = await choosePlacement(options, 'node');
  return runRole(options, async (context) => {
    const engine = createPolicyEngine({
      ...placement,
      memoryBytes: options.memory,
      logger: context.participant.logger,
    });
    context.onStop(() => context.waitLast(engine.close()));
    const prover = createProver();
    context.onStop(() => prover.close());
    let worker: RolloutWorker | null = null;
    let working: KnownRecipe | null = null;
    let busyAtMs = systemClock.nowMs();
    watchRecipes(context, {
      wanted: options.recipe,
      onOpen: async (known) => {
        const followed = await context.participant.follow(known);
        // What is worked on goes on until the other's policy is here; where there are others, none is waited for without end.
        const { book } = context.participant;
        const isOnly = book.list().every((each) => each === known || !book.isOpen(each.resolved.recipeIdHex));
        const limits = isOnly ? [context.signal] : [context.signal, AbortSignal.timeout(STALLED_MS)];
        const tokenizer = await waitForTokenizer(followed, AbortSignal.any(limits));
        await worker?.stop();
        working = known;
        worker = await startWorker({ context, engine, prover, followed, tokenizer, alterWeights });
        busyAtMs = systemClock.nowMs();
      },
      isStalled: () => {
        if (worker?.stats().isWaiting !== true) busyAtMs = systemClock.nowMs();
        return systemClock.nowMs() - busyAtMs >= STALLED_MS;
      },
    });
    context.onStop(() => worker?.stop());
    tellFigures(context, () => worker?.stats() ?? null);
    return {
      view: {
        role: 'node',
        details: () => ({
          workingOn: working?.resolved.recipe.name ?? null,
          rollouts: shownStats(worker?.stats() ?? null),
        }),
      },
    };
  });
}

/** The demo's liar. Refused where it could do harm. */
function alteration(options: NodeOptions): { readonly seed: number; readonly scale: number } {
  const scale = Number(options.alterWeights);
  if (!options.loopback) {
    throw new SwarmError('USAGE', '--alter-weights makes a node lie; it is refused outside a --loopback swarm');
  }
  if (!(scale > 0 && scale <= 10)) throw new SwarmError('USAGE', '--alter-weights takes a scale over 0, at most 10');
  return { seed: 1, scale };
}

interface WorkerParts {
  readonly context: RoleContext;
  readonly engine: PolicyEngine;
  readonly prover: ProverThread;
  readonly followed: FollowedRecipe;
  readonly tokenizer: Tokenizer;
  readonly alterWeights: { readonly seed: number; readonly scale: number } | undefined;
}

async function startWorker(parts: WorkerParts): Promise<RolloutWorker & Startable> {
  const { participant } = parts.context;
  const recipe = parts.followed.known.resolved;
  const worker = createRolloutWorker(
    {
      inbox: participant.inbox,
      blobs: participant.store.blobs,
      chain: parts.followed.chain,
      engine: parts.engine,
      prover: parts.prover,
      records: participant.store.records(`rollout-${recipe.recipeIdHex}`),
      clock: systemClock,
      logger: participant.logger,
      tokenizer: parts.tokenizer,
    },
    {
      recipe,
      peerId: participant.keyPair.peerId,
      ...(parts.alterWeights === undefined ? {} : { alterWeights: parts.alterWeights }),
    },
  );
  await worker.start();
  return worker;
}

function shownStats(stats: RolloutStats | null): object | null {
  if (stats === null) return null;
  const { lastSample, ...figures } = stats;
  return { ...figures, lastSample: lastSample === null ? null : `${lastSample.prompt}${lastSample.completion}` };
}

function tellFigures(context: RoleContext, read: () => RolloutStats | null): void {
  let toldGroups = 0;
  const tell = (): void => {
    const stats = read();
    if (stats === null || stats.policyStep === null || stats.groups === toldGroups) return;
    toldGroups = stats.groups;
    const { policyStep, groups, tokens, tokensPerSecond, lastSample } = stats;
    context.emit({ event: 'rollouts', policyStep, groups, tokens, tokensPerSecond });
    if (lastSample !== null) context.emit({ event: 'sample', ...lastSample, reward: lastSample.reward / MILLION });
  };
  const timer = setInterval(tell, TELL_EVERY_MS);
  context.onStop(() => clearInterval(timer));
}

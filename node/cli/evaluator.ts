// Evaluations while training: before the first step, then every so many, always the same tasks and the same luck.

import type { Tokenizer } from '../model/tokenizer.ts';
import type { PolicyEngine } from '../protocol/ports.ts';
import { evaluatePolicy, type HeldOutTasks, heldOutTasks } from './evaluate.ts';
import type { EmitEvent } from './events.ts';
import type { FollowedRecipe } from './participant.ts';

export interface Evaluator {
  atStart(policyStep: number): Promise<void>;
  afterStep(policyStep: number): Promise<void>;
  /** when training has ended: evaluates unless that very policy was */
  atEnd(policyStep: number): Promise<void>;
}

export interface EvaluatorComponents {
  readonly engine: PolicyEngine;
  readonly followed: FollowedRecipe;
  readonly tokenizer: Tokenizer;
  readonly emit: EmitEvent;
  /** gives an evaluation up: INTERRUPTED */
  readonly signal: AbortSignal;
}

export interface EvaluatorInit {
  /** policy steps from one to the next, 0 for never */
  readonly evalEvery: number;
  readonly evalTasks: number;
  readonly seed: number;
}

export function createEvaluator(components: EvaluatorComponents, init: EvaluatorInit): Evaluator {
  const { engine, followed, tokenizer, emit, signal } = components;
  let evaluated = -1;
  let asked: HeldOutTasks | null = null;
  async function evaluate(policyStep: number): Promise<void> {
    evaluated = policyStep;
    const policy = followed.chain.at(policyStep);
    const files = policy === null ? null : await followed.chain.files(policy.policyRoot);
    if (policy === null || files === null) return;
    await engine.load(files, { signal });
    asked ??= await heldOutTasks(followed.known.resolved, tokenizer, init.evalTasks, init.seed);
    const sampling = followed.sampling(tokenizer);
    const { resolved } = followed.known;
    const context = { engine, policyRoot: policy.policyRoot, recipe: resolved, tokenizer, sampling, signal };
    const { accuracy, tasks, completionTokensMean } = await evaluatePolicy(context, asked);
    await engine.unload(policy.policyRoot);
    emit({ event: 'evaluation', policyStep, accuracy, tasks, completionTokensMean });
  }
  return {
    async atStart(policyStep) {
      if (init.evalEvery > 0) await evaluate(policyStep);
    },
    async afterStep(policyStep) {
      if (init.evalEvery > 0 && policyStep % init.evalEvery === 0) await evaluate(policyStep);
    },
    async atEnd(policyStep) {
      if (init.evalEvery > 0 && policyStep !== evaluated) await evaluate(policyStep);
    },
  };
}

// `murmur train`: takes one recipe after another, each with its training engine, replays, verifier inside, publisher.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkFits } from '../../../recipes/prompt.ts';
import type { ResolvedRecipe } from '../../../recipes/resolve.ts';
import { parseRecipe, type Recipe, type RecipeSource } from '../../../recipes/schema.ts';
import type { ModelTexts } from '../../../shardcast/policies.ts';
import { createPublisher } from '../../../shardcast/publish.ts';
import { createTrainingEngine } from '../../../trainer/engine/create.ts';
import type { TrainingEngineInit } from '../../../trainer/engine/engine.ts';
import { createOfferBeat, type OfferBeat } from '../../../trainer/offer.ts';
import { createProvisioning } from '../../../trainer/provisioning.ts';
import { createTrainer, type Trainer } from '../../../trainer/trainer.ts';
import { type CheckerThread, createReplayChecker } from '../../../verifier/checker.ts';
import { checkBody } from '../../../verifier/checks/stage-one.ts';
import { type BodyContext, replaySubject } from '../../../verifier/checks/subject.ts';
import type { Verifier } from '../../../verifier/service.ts';
import { type ModelConfig, parametersOf, parseModelConfig } from '../../model/config.ts';
import type { Placement } from '../../model/device.ts';
import { createPolicyEngine } from '../../model/engine/engine.ts';
import { type SharedEngine, shareEngine } from '../../model/engine/shared.ts';
import { loadModelConfig } from '../../model/folder.ts';
import { loadTokenizer, type Tokenizer } from '../../model/tokenizer.ts';
import { readTokenizerFiles } from '../../model/tokenizer-files.ts';
import { fromHex, fromUtf8, toHex } from '../../protocol/bytes.ts';
import { errorText, SwarmError } from '../../protocol/errors.ts';
import type { TrainOptions } from '../commands/train.ts';
import { choosePlacement } from '../compute.ts';
import { createEvaluator, type Evaluator } from '../evaluator.ts';
import type { Row } from '../inspector.ts';
import type { FollowedRecipe } from '../participant.ts';
import type { KnownRecipe } from '../recipe-book.ts';
import { completeToBytes, readRecipeSource } from '../recipe-source.ts';
import { type StartModel, startModel } from '../start-model.ts';
import { systemClock } from '../system.ts';
import { describeProvision, tellStep, toGroupCounts } from '../tell-step.ts';
import { endThread, type RoleContext, runRole } from './role.ts';
import { shownVerifiers, standingRows, startVerifier } from './verifier.ts';

/** What is fixed for this trainer, whichever recipe it trains. */
interface TrainerHost {
  readonly context: RoleContext;
  readonly options: TrainOptions;
  readonly config: ModelConfig;
  readonly texts: ModelTexts;
  readonly tokenizer: Tokenizer;
  readonly start: StartModel;
  readonly placement: Placement;
  readonly engine: SharedEngine;
  readonly checker: CheckerThread;
  readonly verifiers: Map<string, Verifier>;
}

/** One recipe in training. */
interface Training {
  readonly known: KnownRecipe;
  readonly trainer: Trainer;
  readonly evaluator: Evaluator;
  stop(): Promise<void>;
}

export async function runTrain(options: TrainOptions): Promise<number> {
  const source = options.recipe === undefined ? null : await readRecipeSource(options.recipe);
  const start = await startModel(options.model, source);
  const texts = await readTexts(start.folder);
  const config = await loadModelConfig(start.folder);
  const tokenizer = await loadTokenizer(start.folder, config.vocabSize);
  const placement = await choosePlacement(options.deterministic ? oneThread(options) : options, 'train');
  return runRole(options, async (context) => {
    const { participant } = context;
    const engine = createPolicyEngine({
      ...placement,
      memoryBytes: options.memory,
      logger: participant.logger,
    });
    context.onStop(() => context.waitLast(engine.close()));
    const checker = createReplayChecker();
    context.onStop(() => checker.close());
    const host: TrainerHost = {
      ...{
        context,
        options,
        start,
        config,
        texts,
        tokenizer,
        engine: shareEngine(engine),
        checker,
        placement,
        verifiers: new Map(),
      },
    };
    participant.setVerifier((id) => host.verifiers.get(id) ?? null);
    let training: Training | null = null;
    let shown: Row | null = null;
    const beat = offerBeat(host, () => training);
    const own = source === null ? null : await publishOwn(host, source);
    const loop = takeRecipes(host, own, async (next) => {
      if (training !== null) shown = shownTraining(training, participant.inbox.ignoredCounts());
      training = next;
      await beat
        .beat()
        .catch((error: unknown) => participant.logger.warn({ error: errorText(error) }, 'the offer was not sent'));
    });
    context.onStop(() => loop);
    await beat.start();
    context.onStop(() => beat.stop());
    return {
      view: {
        role: 'trainer',
        details: () => {
          if (training !== null) shown = shownTraining(training, participant.inbox.ignoredCounts());
          return { training: shown, verifier: shownVerifiers(host.verifiers) };
        },
        standing: () => standingRows(host.verifiers),
      },
    };
  });
}

/** Sums come out alike again only when nobody shares them out. */
function oneThread(options: TrainOptions): TrainOptions {
  if ((options.threads ?? 1) !== 1) {
    throw new SwarmError('USAGE', '--deterministic computes on one thread: leave --threads out');
  }
  return { ...options, threads: 1 };
}

async function readTexts(folder: string): Promise<ModelTexts> {
  const path = join(folder, 'config.json');
  const config = await readFile(path).catch((cause: unknown) => {
    throw new SwarmError('MODEL_FILE_MISSING', `cannot read ${path}; check the model folder`, { path }, { cause });
  });
  return { config, ...(await readTokenizerFiles(folder)) };
}

function offerBeat(host: TrainerHost, training: () => Training | null): OfferBeat {
  const { inbox, logger } = host.context.participant;
  return createOfferBeat(
    { inbox, clock: systemClock, logger },
    {
      offer: () => {
        const current = training();
        return {
          architectures: [host.config.architecture],
          maxParameters: parametersOf(host.config),
          trainingRecipeIds: current === null ? [] : [current.known.resolved.recipeId],
          accepts: host.options.accept,
          initialPolicyRoots: [fromHex(host.start.model.initialPolicyRoot)],
        };
      },
    },
  );
}

/**
 * `--recipe`: a recipe of this trainer's own, published as `murmur submit` would. The same file gives the same recipe.
 * @throws {SwarmError} USAGE when nobody would check its groups
 */
async function publishOwn(host: TrainerHost, source: RecipeSource): Promise<KnownRecipe> {
  const { participant } = host.context;
  const author = toHex(participant.keyPair.publicKey);
  const bytes = completeToBytes(source, { author, trainers: [author], model: host.start.model });
  const why = unchecked(host.options, parseRecipe(bytes));
  if (why !== null) {
    throw new SwarmError(
      'USAGE',
      `no group of this recipe would ever count: ${why}. Leave --no-verify out, or write the keys of verifiers (murmur id) into the recipe, under verification.verifiers`,
    );
  }
  return participant.book.submit(bytes);
}

/** Why nobody whose word counts would check the groups of a recipe; null when somebody does. */
function unchecked(options: TrainOptions, recipe: Recipe): string | null {
  const { acceptance, verifiers } = recipe.verification;
  if (options.verify) return null;
  if (verifiers.length === 0) return 'it names no verifier and --no-verify is set';
  if (acceptance.rule !== 'quorum' || acceptance.quorum <= verifiers.length) return null;
  return `it asks for ${acceptance.quorum} verifiers, names ${verifiers.length}, and --no-verify is set`;
}

/** Why this trainer does not take a recipe; null when it does. */
function refusal(host: TrainerHost, { resolved: { recipe } }: KnownRecipe): string | null {
  const key = toHex(host.context.participant.keyPair.publicKey);
  if (!recipe.trainers.includes(key)) return 'it names other trainers';
  if (recipe.model.initialPolicyRoot !== host.start.model.initialPolicyRoot)
    return 'it starts from another model than --model';
  const why = unchecked(host.options, recipe);
  if (why !== null) return why;
  if (host.options.accept === 'all') return null;
  return host.options.accept === 'author' && recipe.author === key ? null : `--accept is ${host.options.accept}`;
}

/** Trains recipes one after another: `own` first, then those that come and are not refused. */
async function takeRecipes(
  host: TrainerHost,
  own: KnownRecipe | null,
  onTraining: (training: Training | null) => Promise<void>,
): Promise<void> {
  const { context, options } = host;
  const { signal, participant, emit } = context;
  const done = new Set<string>();
  try {
    while (!signal.aborted) {
      const next =
        done.size === 0 && own !== null
          ? own
          : participant.book.list().find((known) => {
              const id = known.resolved.recipeIdHex;
              if (done.has(id) || known.closed) return false;
              const why = refusal(host, known);
              if (why === null) return true;
              done.add(id);
              emit({
                event: 'notice',
                text: `not training ${known.resolved.recipe.name} (${id.slice(0, 12)}): ${why}`,
              });
              return false;
            });
      if (next === undefined) {
        await systemClock.sleep(500, signal);
        continue;
      }
      done.add(next.resolved.recipeIdHex);
      emit({ event: 'recipe', recipeId: next.resolved.recipeIdHex, name: next.resolved.recipe.name, state: 'working' });
      try {
        await trainOne(host, next, onTraining);
      } catch (error) {
        // A stranger's recipe that cannot be trained ends that recipe, not this trainer.
        if (next === own) throw error;
        participant.logger.error(
          { recipeId: next.resolved.recipeIdHex, error: errorText(error) },
          'a recipe could not be trained',
        );
        emit({ event: 'notice', text: `gave up ${next.resolved.recipe.name}: ${errorText(error)}` });
      }
      if (next === own && options.maxSteps !== undefined) context.finish();
    }
  } catch (error) {
    context.fail(error);
  }
}

async function trainOne(
  host: TrainerHost,
  known: KnownRecipe,
  onTraining: (training: Training | null) => Promise<void>,
): Promise<void> {
  const { context } = host;
  const training = await startTraining(host, known);
  const onAbort = (): void => void training.trainer.stop();
  context.signal.addEventListener('abort', onAbort, { once: true });
  try {
    await onTraining(training);
    await training.evaluator.atStart(training.trainer.state().policyStep);
    const ended = context.signal.aborted ? 'stopped' : await training.trainer.run();
    if (ended === 'finished') await training.evaluator.atEnd(training.trainer.state().policyStep);
  } finally {
    context.signal.removeEventListener('abort', onAbort);
    context.emit({
      event: 'summary',
      counts: toGroupCounts(training.trainer.counts(), context.participant.inbox.ignoredCounts()),
    });
    await training.stop();
    await onTraining(null).catch(() => undefined);
  }
}

function engineInit(recipe: ResolvedRecipe, { options, start, placement, tokenizer }: TrainerHost): TrainingEngineInit {
  const { grpo, sampling } = recipe.recipe;
  return {
    source: { folder: start.folder },
    objective: {
      loss: grpo.loss,
      lossSettings: grpo.lossSettings,
      klCoef: grpo.klCoef,
      entropyCoef: grpo.entropyCoef,
      normalisation: grpo.normalisation,
      maxNewTokens: sampling.maxNewTokens,
    },
    temperature: sampling.temperature,
    tokenCount: tokenizer.vocabSize,
    optimizer: { beta1: grpo.beta1, beta2: grpo.beta2, epsilon: grpo.epsilon, weightDecay: grpo.weightDecay },
    schedule: { learningRate: grpo.learningRate, warmUpSteps: grpo.warmUpSteps },
    clipNorm: grpo.clipNorm,
    slowWhenStale: grpo.slowWhenStale,
    ...(grpo.lora === undefined ? {} : { lora: grpo.lora }),
    recompute: options.recompute,
    ...placement,
  };
}

async function startTraining(host: TrainerHost, known: KnownRecipe): Promise<Training> {
  const { context, options, texts, tokenizer, engine: shared } = host;
  const [policies, evaluated] = [shared.user(), shared.user()];
  const { participant, emit } = context;
  const recipe = known.resolved;
  checkFits(recipe, tokenizer);
  const followed = await participant.follow(known, { texts, keep: 'all' });
  const bodies = bodyContext(followed, tokenizer, texts);
  const engine = await createTrainingEngine(engineInit(recipe, host));
  const publisher = createPublisher(
    {
      inbox: participant.inbox,
      blobs: participant.store.blobs,
      policies: followed.policies,
      clock: systemClock,
      logger: participant.logger,
    },
    { recipe, texts },
  );
  const evaluator = createEvaluator({ engine: evaluated, followed, tokenizer, emit, signal: context.signal }, options);
  const provisioning = createProvisioning(recipe.recipe.grpo);
  const ownKey = toHex(participant.keyPair.publicKey);
  const trainer = createTrainer(
    {
      inbox: participant.inbox,
      blobs: participant.store.blobs,
      fetcher: participant.fetcher,
      chain: followed.chain,
      publisher,
      engine,
      policies,
      records: participant.store.records('trainer'),
      clock: systemClock,
      logger: participant.logger,
      checkBody: (announcement, body) => checkBody(bodies, announcement, body),
      checkReplay: (announcement, body, replayed) =>
        host.checker.check(replayed.map((each, i) => replaySubject(bodies, announcement, body, i, each))),
      onRejected: (groupId, answer) =>
        void host.verifiers
          .get(recipe.recipeIdHex)
          ?.refute(groupId, answer)
          .catch((error: unknown) =>
            participant.logger.error({ groupId, error: errorText(error) }, 'a rejection was not kept'),
          ),
      isQuarantined: (peer, step) =>
        host.verifiers.get(recipe.recipeIdHex)?.standing.isQuarantined(peer, step) ?? false,
      worthOfVerifier: (peer) =>
        host.verifiers.get(recipe.recipeIdHex)?.worthOf(peer) ?? { standing: 0, isSilenced: false },
    },
    {
      recipe,
      sampling: followed.sampling(tokenizer),
      checkpointDir: join(options.dataDir, 'checkpoints', recipe.recipeIdHex),
      ...(options.verify ? { ownVerifier: ownKey } : {}),
      ...(options.maxSteps === undefined ? {} : { maxSteps: options.maxSteps }),
      deterministic: options.deterministic,
      onStep: async (metrics) => {
        tellStep(emit, metrics, participant.inbox.ignoredCounts());
        const provision = provisioning.look(metrics);
        if (provision !== null) emit({ event: 'notice', text: describeProvision(provision) });
        if (metrics.isPublished) await evaluator.afterStep(metrics.policyStep);
      },
    },
  );
  await trainer.start();
  if (options.verify) host.verifiers.set(recipe.recipeIdHex, await startVerifier(context, host, followed));
  return {
    known,
    trainer,
    evaluator,
    async stop() {
      await trainer.stop();
      await host.verifiers.get(recipe.recipeIdHex)?.stop();
      host.verifiers.delete(recipe.recipeIdHex);
      // At the end of the role the shared engine closes with all its policies.
      if (!context.signal.aborted) for (const each of [policies, evaluated]) await each.close();
      await endThread(context, engine.close);
    },
  };
}

function bodyContext(followed: FollowedRecipe, tokenizer: Tokenizer, texts: ModelTexts): BodyContext {
  const config = parseModelConfig(JSON.parse(fromUtf8(texts.config)));
  return {
    recipe: followed.known.resolved,
    tokenizer,
    modelVocabulary: config.vocabSize,
    hiddenSize: config.hiddenSize,
  };
}

function shownTraining({ known, trainer }: Training, ignored: Readonly<Record<string, number>>): Row {
  const { trainStep, policyStep, policyRoot } = trainer.state();
  return {
    recipe: known.resolved.recipe.name,
    trainStep,
    policyStep,
    policyRoot,
    groups: toGroupCounts(trainer.counts(), ignored),
  };
}

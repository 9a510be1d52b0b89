// Runs `murmur chat`: loads one policy, then turns lines of a terminal or a pipe into questions, answers into text.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseModelConfig } from '../../model/config.ts';
import { createPolicyEngine } from '../../model/engine/engine.ts';
import { parseJson, readSmall } from '../../model/small-files.ts';
import { loadTokenizer, type Tokenizer } from '../../model/tokenizer.ts';
import { weightsFileOf } from '../../model/weight-files.ts';
import { errorText, SwarmError } from '../../protocol/errors.ts';
import type { PolicyEngine } from '../../protocol/ports.ts';
import type { ChatOptions } from '../commands/chat.ts';
import { choosePlacement } from '../compute.ts';
import { type Answer, type Conversation, createConversation } from '../conversation.ts';
import { EXIT_INTERRUPTED, EXIT_OK } from '../exit-codes.ts';
import { findNamedPolicy, type NamedPolicy } from '../named-policy.ts';
import { recipeModelOf } from '../start-model.ts';
import { systemClock } from '../system.ts';

const MAX_SEED = 2 ** 31;

type Json = Readonly<Record<string, unknown>>;

export async function runChat(policy: string | undefined, options: ChatOptions): Promise<number> {
  if (policy !== undefined && options.model !== undefined) {
    throw new SwarmError('USAGE', 'name the policy or --model, not both');
  }
  const subject = await findNamedPolicy(options.model ?? policy, options);
  const placement = await choosePlacement(options, 'alone');
  const engine = createPolicyEngine({ ...placement, memoryBytes: options.memory });
  try {
    const conversation = await converse(engine, subject, options);
    const talk = createTalk(conversation, options);
    const { once } = options;
    if (once !== undefined) return await talkAlone(talk, () => [once]);
    if (process.stdin.isTTY && !options.json) return await talkOnTerminal(talk, describe(subject, conversation));
    return await talkAlone(talk, (signal) => createInterface({ input: process.stdin, signal }));
  } finally {
    await engine.close();
  }
}

async function converse(engine: PolicyEngine, subject: NamedPolicy, options: ChatOptions): Promise<Conversation> {
  const { folder } = subject;
  const configFile = join(folder, 'config.json');
  const configJson = (await readSmall(configFile)).toString('utf8');
  const config = parseModelConfig(parseJson(configJson, configFile));
  const tokenizer = await loadTokenizer(folder, config.vocabSize);
  const { initialPolicyRoot } = await recipeModelOf({ folder, hubId: null });
  const policyRoot = 'policyRoot' in subject ? subject.policyRoot : initialPolicyRoot;
  await engine.load({ policyRoot, configJson, weightsFile: await weightsFileOf(folder) });
  const generation = await generationConfig(folder);
  const sampling = {
    ...samplingOf(subject, generation, options),
    maxNewTokens: options.maxTokens,
    endTokens: endTokensOf(subject, [JSON.parse(configJson) as Json, generation], tokenizer),
    tokenCount: tokenizer.vocabSize,
  };
  return createConversation(
    { engine, tokenizer, clock: systemClock },
    {
      policyRoot,
      maxPositions: config.maxPositions,
      sampling,
      seed: options.seed ?? Math.floor(Math.random() * MAX_SEED),
      system: options.system ?? null,
    },
  );
}

/** generation_config.json, or nothing where a folder has none. */
async function generationConfig(folder: string): Promise<Json> {
  const path = join(folder, 'generation_config.json');
  return parseJson(await readFile(path, 'utf8').catch(() => '{}'), path) as Json;
}

/** What was asked for; else as the recipe draws, as the model's makers say, or as is usual. */
function samplingOf(
  subject: NamedPolicy,
  generation: Json,
  asked: ChatOptions,
): { readonly temperature: number; readonly topK: number; readonly topP: number } {
  const numberOr = (value: unknown, otherwise: number): number => (typeof value === 'number' ? value : otherwise);
  const usual =
    'recipe' in subject
      ? subject.recipe.recipe.sampling
      : {
          temperature: numberOr(generation['temperature'], 0.7),
          topK: numberOr(generation['top_k'], 0),
          topP: numberOr(generation['top_p'], 0.95),
        };
  const { temperature = usual.temperature, topK = usual.topK, topP = usual.topP } = asked;
  return temperature === 0 ? { temperature: 1, topK: 1, topP: 1 } : { temperature, topK, topP };
}

/** All that the folder, its tokenizer or its recipe call an end. */
function endTokensOf(subject: NamedPolicy, configs: readonly Json[], tokenizer: Tokenizer): number[] {
  const named = configs.flatMap(({ eos_token_id: ids }) => (Array.isArray(ids) ? ids : [ids]));
  const ofTokenizer = tokenizer.specialTokens['eos_token'];
  const ofRecipe = 'recipe' in subject ? subject.recipe.recipe.sampling.endTokens : [];
  const all: unknown[] = [...named, ...ofRecipe, ofTokenizer === undefined ? undefined : tokenizer.idOf(ofTokenizer)];
  return [...new Set(all.filter((id): id is number => Number.isInteger(id)))];
}

function describe(subject: NamedPolicy, { isChat }: Conversation): string {
  const what =
    'recipe' in subject ? `${subject.recipe.recipe.name}, policy step ${subject.policyStep}` : subject.folder;
  const how = isChat
    ? ''
    : '\nNo chat template: each line is given to the model as it is, to go on from, and is then forgotten.';
  return `${what}${how}\nCtrl-C stops an answer, Ctrl-D leaves, /new forgets what was said.\n`;
}

/** What happens with one line, whoever typed it. */
interface Talk {
  say(line: string, signal: AbortSignal): Promise<void>;
}

function createTalk(conversation: Conversation, { json }: ChatOptions): Talk {
  return {
    async say(line, signal) {
      const question = line.replace(/\r$/, '');
      if (question.trim() === '') return;
      if (question.trim() === '/new') {
        conversation.restart();
        return;
      }
      const show = (piece: string): void => void (json || process.stdout.write(piece));
      const answer = await conversation.ask(question, show, signal);
      process.stdout.write(json ? `${JSON.stringify(report(question, answer))}\n` : '\n');
    },
  };
}

function report(question: string, { text, ...figures }: Answer): object {
  return { question, answer: text, ...figures };
}

/** Lines one after another; a signal ends it all, what fails too, and quietly a reader who has gone. */
async function talkAlone(
  talk: Talk,
  read: (signal: AbortSignal) => Iterable<string> | AsyncIterable<string>,
): Promise<number> {
  const interrupt = new AbortController();
  let code = EXIT_OK;
  const onSignal = (): void => {
    code = EXIT_INTERRUPTED;
    interrupt.abort();
  };
  const onGone = (): void => interrupt.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  process.stdout.on('error', onGone);
  try {
    for await (const line of read(interrupt.signal)) {
      await talk.say(line, interrupt.signal);
      if (interrupt.signal.aborted) break;
    }
    return code;
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    // The last write may have failed without having said so yet.
    setImmediate(() => process.stdout.off('error', onGone));
  }
}

/** A person at a terminal: what fails is told, and the next line may do better. Lines typed meanwhile wait. */
async function talkOnTerminal(talk: Talk, greeting: string): Promise<number> {
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: '> ' });
  let answering: AbortController | null = null;
  lines.on('SIGINT', () => {
    if (answering !== null) return answering.abort();
    process.stdout.write('\n(Ctrl-D leaves)\n');
    lines.prompt();
  });
  process.stdout.write(greeting);
  lines.prompt();
  for await (const line of lines) {
    answering = new AbortController();
    await talk.say(line, answering.signal).catch((error: unknown) => {
      process.stdout.write(`${errorText(error)}\n`);
    });
    answering = null;
    lines.prompt();
  }
  process.stdout.write('\n');
  return EXIT_OK;
}

// Chat messages -> prompt text, by the model folder's own Jinja template, as transformers' apply_chat_template does.
// Source: transformers 5.23 utils/chat_template_utils.py (trim_blocks, lstrip_blocks, loop controls, raise_exception,
// strftime_now, {% generation %} as a no-op); the interpreter is @huggingface/jinja, as in transformers.js.
// Left out: tools, documents, several templates by name (the one called `default` is taken), continue_final_message.
// Of Python's jinja2 the interpreter lacks rarer methods and filters, most of which end with a code. Some corners give
// another text: booleans, none, lists and floats printed by themselves, title() on mixed case, '1' == 1, emoji lengths.
// A template comes from strangers. Bounded: its length, that of its text, the length of a range(), the steps of a
// rendering, and its time as a second net. Not bounded: the memory that it takes within that time. It reaches no file,
// network or JavaScript object.

import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { errorText, SwarmError } from '../protocol/errors.ts';
import { strftime } from './strftime.ts';
import { rewriteStripCalls, STRIP_FUNCTIONS } from './strip-calls.ts';
import { createTimeLimit, TimeLimitError } from './time-limit.ts';

/** One turn; the roles are the template's to understand, usually system, user, assistant. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface RenderOptions {
  /** whether the text ends with the head of an answer, for the model to go on from */
  readonly addGenerationPrompt: boolean;
}

/** @throws {SwarmError} CHAT_TEMPLATE_FAILED: the template raises, is too long in text or time, or gives no text */
export type ChatTemplate = (messages: readonly ChatMessage[], options: RenderOptions) => string;

export interface ChatTemplateInit {
  /**
   * The clock of `strftime_now`. Without one the template finds it undefined, as templates that use it expect: the text
   * then depends on the messages alone, which a recipe needs.
   */
  readonly now?: () => Date;
  /** time that one rendering may take; default 2000 */
  readonly timeoutMs?: number;
}

/** What a template needs of a tokenizer. */
export interface TemplateSource {
  readonly chatTemplate: string | null;
  readonly specialTokens: Readonly<Record<string, string>>;
}

/** The longest in use, with tools, are some 20 KB. */
const MAX_TEMPLATE_CHARS = 256 << 10;
const MAX_TEXT_CHARS = 4 << 20;
const MAX_RANGE = 100_000;
/** A node of the program, evaluated once, is a step. The usual templates take some 20 a turn. */
const MAX_STEPS = 500_000;
const DEFAULT_TIMEOUT_MS = 2000;

function failed(reason: string, cause?: unknown): SwarmError {
  const message = `The model's chat template fails: ${reason.slice(0, 300)}. Change the messages, or use a model with another template.`;
  return new SwarmError('CHAT_TEMPLATE_FAILED', message, { reason: reason.slice(0, 300) }, { cause });
}

/** `{% generation %}` marks what an assistant said, for training masks; its tags print nothing. */
function withoutGenerationTags(template: string): string {
  return template
    .replace(/\{%([-+]?)\s*generation\s*([-+]?)%\}/g, '{%$1 if true $2%}')
    .replace(/\{%([-+]?)\s*endgeneration\s*([-+]?)%\}/g, '{%$1 endif $2%}');
}

/** Python's range(), no longer than MAX_RANGE. */
function range(...args: readonly number[]): number[] {
  const [start, stop, step = 1] = args.length === 1 ? [0, args[0]!] : args;
  const length = Math.max(0, Math.ceil((stop! - start!) / step));
  if (!(length <= MAX_RANGE)) throw new Error(`range() of ${length} values, over ${MAX_RANGE}`);
  return Array.from({ length }, (_, i) => start! + i * step);
}

function environmentOf(variables: Readonly<Record<string, unknown>>, now: (() => Date) | undefined): Environment {
  const environment = new Environment();
  const globals = {
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
    range,
    ...STRIP_FUNCTIONS,
    raise_exception: (message: string) => {
      throw new Error(message);
    },
    ...(now ? { strftime_now: (format: string) => strftime(now(), format) } : {}),
  };
  for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
  return environment;
}

/** An interpreter with a budget of steps: what is over it on one machine is over it on all, fast or slow. */
function boundedInterpreter(environment: Environment): Interpreter {
  const interpreter = new Interpreter(environment);
  const evaluate: (...node: unknown[]) => unknown = interpreter.evaluate.bind(interpreter);
  let steps = 0;
  interpreter.evaluate = (...node: unknown[]): unknown => {
    if (++steps > MAX_STEPS) throw new Error(`it takes over ${MAX_STEPS} steps`);
    return evaluate(...node);
  };
  return interpreter;
}

/**
 * Makes a folder's chat template ready to use.
 * @param tokenizer its template and special tokens
 * @throws {SwarmError} CHAT_TEMPLATE_MISSING; CHAT_TEMPLATE_FAILED where it does not parse
 */
export function createChatTemplate(tokenizer: TemplateSource, init: ChatTemplateInit = {}): ChatTemplate {
  const { chatTemplate, specialTokens } = tokenizer;
  const { now, timeoutMs = DEFAULT_TIMEOUT_MS } = init;
  if (chatTemplate === null) {
    throw new SwarmError(
      'CHAT_TEMPLATE_MISSING',
      'The model folder has no chat template (chat_template in tokenizer_config.json, or chat_template.jinja). Use a model made for chats, or plain prompts.',
    );
  }
  if (chatTemplate.length > MAX_TEMPLATE_CHARS) throw failed(`it has over ${MAX_TEMPLATE_CHARS} characters`);
  let program: ReturnType<typeof parse>;
  try {
    program = parse(tokenize(withoutGenerationTags(chatTemplate), { trim_blocks: true, lstrip_blocks: true }));
    rewriteStripCalls(program);
  } catch (cause) {
    throw failed(`it does not parse: ${errorText(cause)}`, cause);
  }
  // Made once: another for each rendering takes longer than the rendering (measured).
  const withinTime = createTimeLimit();
  return (messages, { addGenerationPrompt }) => {
    const variables = {
      ...specialTokens,
      messages,
      tools: null,
      documents: null,
      add_generation_prompt: addGenerationPrompt,
    };
    const render = (): string => {
      const { value } = boundedInterpreter(environmentOf(variables, now)).run(program);
      return typeof value === 'string' ? value : '';
    };
    if (messages.length === 0) throw failed('there are no messages');
    let text: string;
    try {
      text = withinTime(timeoutMs, render);
    } catch (cause) {
      throw failed(cause instanceof TimeLimitError ? `it ran longer than ${timeoutMs} ms` : errorText(cause), cause);
    }
    if (text.length > MAX_TEXT_CHARS) throw failed(`its text has over ${MAX_TEXT_CHARS} characters`);
    return text;
  };
}

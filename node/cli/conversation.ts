// One conversation with a loaded policy: turns through the model's chat template, or single prompts where it has none.
// Knows nothing of terminals. Invariant: what was said of an answer, whole or cut short, is what the next turn remembers.

import type { ChatMessage } from '../model/chat-template.ts';
import { createTextStream } from '../model/text-stream.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { sha256, u32be } from '../protocol/bytes.ts';
import { isSwarmError, SwarmError } from '../protocol/errors.ts';
import type { Clock, PolicyEngine, SamplingSettings } from '../protocol/ports.ts';

const SEED_DOMAIN = 'murmuration/chat/1';

export interface Answer {
  readonly text: string;
  /** `stopped`: by the signal */
  readonly finish: 'eos' | 'length' | 'stopped';
  readonly promptTokens: number;
  /** those of them that the turn before had not left behind; null of an answer that was stopped */
  readonly promptTokensRead: number | null;
  /** end token included */
  readonly answerTokens: number;
  readonly firstTokenMs: number;
  readonly totalMs: number;
}

export interface ConversationComponents {
  readonly engine: PolicyEngine;
  readonly tokenizer: Tokenizer;
  readonly clock: Clock;
}

export interface ConversationInit {
  readonly policyRoot: string;
  /** longest prompt and answer together, in tokens */
  readonly maxPositions: number;
  /** `maxNewTokens` is lowered where the positions end */
  readonly sampling: SamplingSettings;
  /** u32; answer n is drawn under a seed of its own */
  readonly seed: number;
  readonly system: string | null;
}

export interface Conversation {
  /** whether turns are remembered, in a chat template; else each prompt stands alone */
  readonly isChat: boolean;
  /**
   * @param onText hears the answer in pieces as they are drawn
   * @throws {SwarmError} TOO_LARGE: no room is left for an answer; CHAT_TEMPLATE_FAILED, TEXT_NOT_ENCODABLE; of the engine
   */
  ask(question: string, onText: (piece: string) => void, signal: AbortSignal): Promise<Answer>;
  /** forgets all turns but the system's */
  restart(): void;
}

/** @throws {SwarmError} CHAT_TEMPLATE_MISSING when there is a system turn and no template to put it in */
export function createConversation(components: ConversationComponents, init: ConversationInit): Conversation {
  const { tokenizer } = components;
  const isChat = tokenizer.chatTemplate !== null;
  const first: ChatMessage[] = init.system === null ? [] : [{ role: 'system', content: init.system }];
  if (first.length > 0) tokenizer.chatText([...first, { role: 'user', content: '' }]);
  let turns = first;
  let answers = 0;
  return {
    isChat,
    restart() {
      turns = first;
    },
    async ask(question, onText, signal) {
      const asked: ChatMessage[] = [...turns, { role: 'user', content: question }];
      const text = isChat ? tokenizer.chatText(asked) : question;
      const prompt = Uint32Array.from(tokenizer.encode(text, { addSpecialTokens: !isChat }));
      const seed = sha256(SEED_DOMAIN, u32be(init.seed, 'seed'), u32be(answers++, 'answer'));
      const answer = await draw(components, init, { prompt, seed, onText, signal });
      if (isChat) turns = [...asked, { role: 'assistant', content: answer.text }];
      return answer;
    },
  };
}

interface Asked {
  readonly prompt: Uint32Array;
  readonly seed: Uint8Array;
  readonly onText: (piece: string) => void;
  readonly signal: AbortSignal;
}

/** Room for an answer. @throws {SwarmError} TOO_LARGE */
function tokensLeft({ maxPositions, sampling }: ConversationInit, promptTokens: number): number {
  const left = Math.min(sampling.maxNewTokens, maxPositions - promptTokens);
  if (left >= 1) return left;
  throw new SwarmError(
    'TOO_LARGE',
    `${promptTokens} tokens were said, the model's positions end at ${maxPositions}: forget what was said (/new), or ask less`,
    { tokens: promptTokens, positions: maxPositions },
  );
}

async function draw(
  { engine, tokenizer, clock }: ConversationComponents,
  init: ConversationInit,
  { prompt, seed, onText, signal }: Asked,
): Promise<Answer> {
  const sampling = { ...init.sampling, maxNewTokens: tokensLeft(init, prompt.length) };
  const stream = createTextStream((ids) => tokenizer.decode(ids));
  const began = clock.nowMs();
  let firstAt: number | null = null;
  let text = '';
  let answerTokens = 0;
  const show = (piece: string): void => {
    text += piece;
    if (piece !== '') onText(piece);
  };
  const onToken = ({ token }: { readonly token: number }): void => {
    firstAt ??= clock.nowMs();
    answerTokens++;
    if (!sampling.endTokens.includes(token)) show(stream.push(token));
  };
  const request = { prompt, sequenceSeeds: [seed], isTurn: true };
  const { finish, promptTokensRead = null } = await engine
    .generate(init.policyRoot, sampling, [request], signal, onToken)
    .then(
      ([group]) => group![0]!,
      (error: unknown) => {
        if (signal.aborted && isSwarmError(error, 'INTERRUPTED'))
          return { finish: 'stopped' as const, promptTokensRead: null };
        throw error;
      },
    );
  show(stream.end());
  const endedAt = clock.nowMs();
  const times = { firstTokenMs: (firstAt ?? endedAt) - began, totalMs: endedAt - began };
  return { text, finish, promptTokens: prompt.length, promptTokensRead, answerTokens, ...times };
}

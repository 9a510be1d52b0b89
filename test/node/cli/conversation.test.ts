// A conversation over an engine that says what the test wants: what it is asked, what is remembered, how answers end.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Conversation, createConversation } from '../../../node/cli/conversation.ts';
import { starterModelDir } from '../../../node/cli/shipped.ts';
import { loadTokenizer } from '../../../node/model/tokenizer.ts';
import { isSwarmError, SwarmError } from '../../../node/protocol/errors.ts';
import type { PolicyEngine, SamplingSettings } from '../../../node/protocol/ports.ts';
import { vectorsDir } from '../../support/vectors-dir.ts';

const chatml = await loadTokenizer(join(vectorsDir(), 'tokenizers', 'gpt2-style-chatml'));
const starter = await loadTokenizer(starterModelDir());
const END = chatml.idOf('<|im_end|>')!;
const clock = { nowMs: () => 0, sleep: async () => undefined };
const never = new AbortController().signal;

interface Heard {
  readonly prompts: string[];
  readonly seeds: string[];
  readonly sampling: SamplingSettings[];
  said: string;
  /** aborts this before the answer's end */
  stop: AbortController | null;
}

/** Says `heard.said` and an end token, a token at a time. */
function talker(heard: Heard, tokenizer: typeof chatml): PolicyEngine {
  const unused = (): never => assert.fail('not asked for');
  return {
    ...{ load: unused, unload: unused, replay: unused, close: unused },
    async generate(_root, sampling, groups, signal, onToken) {
      heard.prompts.push(tokenizer.decode([...groups[0]!.prompt]));
      heard.seeds.push(Buffer.from(groups[0]!.sequenceSeeds[0]!).toString('hex'));
      heard.sampling.push(sampling);
      const tokens = [...tokenizer.encode(heard.said, { addSpecialTokens: false }), sampling.endTokens[0]!];
      for (const [i, token] of tokens.entries()) {
        if (heard.stop !== null && i === 2) heard.stop.abort();
        if (signal?.aborted) throw new SwarmError('INTERRUPTED', 'given up');
        onToken?.({ group: 0, index: 0, token });
      }
      const arrays = { logprobs: new Float32Array(), hidden: new Uint16Array() };
      return [[{ tokens: Uint32Array.from(tokens), finish: 'eos', ...arrays }]];
    },
  };
}

function converse(
  tokenizer: typeof chatml,
  init: { readonly system?: string; readonly seed?: number; readonly maxPositions?: number } = {},
): { readonly heard: Heard; readonly conversation: Conversation } {
  const heard: Heard = { prompts: [], seeds: [], sampling: [], said: 'Hé 日!', stop: null };
  const conversation = createConversation(
    { engine: talker(heard, tokenizer), tokenizer, clock },
    {
      policyRoot: 'ab',
      maxPositions: init.maxPositions ?? 4096,
      sampling: {
        temperature: 1,
        topK: 0,
        topP: 1,
        maxNewTokens: 64,
        endTokens: [END],
        tokenCount: tokenizer.vocabSize,
      },
      seed: init.seed ?? 1,
      system: init.system ?? null,
    },
  );
  return { heard, conversation };
}

const turn = (role: string, content: string): string => `<|im_start|>${role}\n${content}<|im_end|>\n`;
const HEAD = '<|im_start|>assistant\n';

test('turns go through the template, answers come in pieces and are remembered, until it starts anew', async () => {
  const { heard, conversation } = converse(chatml, { system: 'S' });
  const pieces: string[] = [];
  const answer = await conversation.ask('one', (piece) => pieces.push(piece), never);
  assert.deepEqual([answer.text, pieces.join(''), answer.finish], ['Hé 日!', 'Hé 日!', 'eos']);
  assert.ok(pieces.length > 3 && pieces.every((piece) => !piece.includes('\ufffd')), JSON.stringify(pieces));
  assert.equal(answer.answerTokens, chatml.encode('Hé 日!', { addSpecialTokens: false }).length + 1);
  await conversation.ask('two', () => {}, never);
  conversation.restart();
  await conversation.ask('three', () => {}, never);
  assert.deepEqual(heard.prompts, [
    turn('system', 'S') + turn('user', 'one') + HEAD,
    turn('system', 'S') + turn('user', 'one') + turn('assistant', 'Hé 日!') + turn('user', 'two') + HEAD,
    turn('system', 'S') + turn('user', 'three') + HEAD,
  ]);
});

test('an answer that was stopped is remembered as far as it came, and the next is asked as ever', async () => {
  const { heard, conversation } = converse(chatml);
  heard.said = 'abcdef';
  heard.stop = new AbortController();
  const answer = await conversation.ask('one', () => {}, heard.stop.signal);
  assert.equal(answer.finish, 'stopped');
  assert.ok(answer.text.length > 0 && 'abcdef'.startsWith(answer.text) && answer.text !== 'abcdef', answer.text);
  heard.stop = null;
  assert.equal((await conversation.ask('two', () => {}, never)).finish, 'eos');
  assert.ok(heard.prompts[1]!.includes(turn('assistant', answer.text)));
});

test('equal seeds draw equal answers, every answer under a seed of its own', async () => {
  const seedsOf = async (seed: number): Promise<string[]> => {
    const { heard, conversation } = converse(chatml, { seed });
    for (const question of ['one', 'two']) await conversation.ask(question, () => {}, never);
    return heard.seeds;
  };
  const [one, again, other] = [await seedsOf(7), await seedsOf(7), await seedsOf(8)];
  assert.deepEqual(one, again);
  assert.equal(new Set([...one, ...other]).size, 4);
});

test('without a template each prompt is raw and stands alone, and a system turn has no place', async () => {
  const { heard, conversation } = converse(starter);
  heard.said = '51';
  assert.equal(conversation.isChat, false);
  for (const question of ['17+25+9=', '1+1=']) await conversation.ask(question, () => {}, never);
  assert.deepEqual(heard.prompts, ['17+25+9=', '1+1=']);
  assert.throws(
    () => converse(starter, { system: 'S' }),
    (error) => isSwarmError(error, 'CHAT_TEMPLATE_MISSING'),
  );
});

test('an answer gets the positions that are left; when none are, that is said and nothing is remembered', async () => {
  const { heard, conversation } = converse(starter, { maxPositions: 12 });
  heard.said = '2';
  await conversation.ask('17+25+9=', () => {}, never);
  assert.equal(heard.sampling[0]!.maxNewTokens, 4);
  const tooLong = conversation.ask('1+1+1+1+1+1=', () => {}, never);
  await assert.rejects(tooLong, (error) => isSwarmError(error, 'TOO_LARGE'));
  await conversation.ask('1+1=', () => {}, never);
  assert.deepEqual(heard.prompts, ['17+25+9=', '1+1=']);
});

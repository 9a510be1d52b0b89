// `murmur chat` as a command: one question, lines of a pipe, JSON, Ctrl-C, and what it refuses.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { starterModelDir } from '../../../node/cli/shipped.ts';
import { saveModelFolder } from '../../../node/model/folder.ts';
import { MURMUR_MAIN } from '../../support/murmur-process.ts';
import { randomModel } from '../../support/random-model.ts';
import { runInProcess } from '../../support/run-program.ts';
import { vectorsDir } from '../../support/vectors-dir.ts';

const STARTER = ['chat', '--model', starterModelDir(), '--threads', '1', '--seed', '1'];

/** A small model of random weights that was made for chats. */
let dir: string;
let chatty: readonly string[];
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'murmur-chat-'));
  await cp(join(vectorsDir(), 'tokenizers', 'gpt2-style-chatml'), dir, { recursive: true });
  await saveModelFolder(dir, randomModel({ vocabSize: 704, maxPositions: 2048, layers: 8 }, 3));
  chatty = ['chat', '--model', dir, '--threads', '1'];
});
after(() => rm(dir, { recursive: true }));

interface Line {
  readonly question: string;
  readonly answer: string;
  readonly finish: string;
  readonly promptTokens: number;
  readonly promptTokensRead: number;
  readonly answerTokens: number;
}

interface Piping {
  readonly input: string;
  /** Ctrl-C comes when this likes what was printed; the pipe stays open until then */
  readonly interruptWhen?: (stdout: string) => boolean;
}

async function piped(
  args: readonly string[],
  { input, interruptWhen }: Piping,
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(process.execPath, [MURMUR_MAIN, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const texts = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    texts.stdout += text;
    if (!child.killed && interruptWhen?.(texts.stdout)) child.kill('SIGINT');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    texts.stderr += text;
  });
  child.stdin.write(input);
  if (interruptWhen === undefined) child.stdin.end();
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, ...texts };
}

test('one question to the starter: raw, greedy, in words and in JSON', async () => {
  const asked = [...STARTER, '--temperature', '0', '--once', 'ad,bf,ca,de,eb,fc:a3='];
  const { code, stdout } = await runInProcess(asked);
  assert.equal(code, 0);
  assert.match(stdout, /^(<[a-f0-9]+>)?[a-f]\n$/);
  const json = JSON.parse((await runInProcess([...asked, '--json'])).stdout) as Line;
  assert.deepEqual([json.question, `${json.answer}\n`, json.finish], ['ad,bf,ca,de,eb,fc:a3=', stdout, 'eos']);
  assert.deepEqual([json.promptTokens, json.answerTokens], [21, json.answer.length + 1]);
});

test('the seed decides what is drawn', async () => {
  const drawn = async (seed: string): Promise<string> => {
    const { code, stdout } = await runInProcess([...chatty, '--once', 'hi', '--seed', seed, '--max-tokens', '12']);
    assert.equal(code, 0);
    return stdout;
  };
  const first = await drawn('5');
  assert.equal(await drawn('5'), first);
  assert.notEqual(await drawn('6'), first);
});

test('how answers are drawn: as generation_config.json says, unless told otherwise', async () => {
  const config = join(dir, 'generation_config.json');
  const drawn = async (...more: string[]): Promise<string> => {
    const asked = [...chatty, '--once', 'hi', '--seed', '5', '--max-tokens', '12', ...more];
    return (await runInProcess(asked)).stdout;
  };
  const greedy = await drawn('--temperature', '0');
  const usual = await drawn();
  assert.notEqual(usual, greedy);
  assert.equal(usual, await drawn('--temperature', '0.7', '--top-p', '0.95', '--top-k', '0'));
  await writeFile(config, '{"temperature": 0.3, "top_k": 1}');
  try {
    assert.equal(await drawn(), greedy);
    assert.equal(await drawn('--temperature', '0.7', '--top-k', '0'), usual);
  } finally {
    await rm(config);
  }
});

test('lines of a pipe are turns of one chat, /new forgets them', async () => {
  const args = [...chatty, '--json', '--seed', '1', '--max-tokens', '6', '--system', 'S', '--memory', '200MB'];
  const { code, stdout } = await piped(args, { input: 'hello\r\n\nhello\n/new\nhello' });
  assert.equal(code, 0);
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  assert.deepEqual(
    lines.map(({ question }) => question),
    ['hello', 'hello', 'hello'],
  );
  assert.ok(lines[1]!.promptTokens > lines[0]!.promptTokens + lines[0]!.answerTokens);
  assert.equal(lines[2]!.promptTokens, lines[0]!.promptTokens);
  const read = lines.map(({ promptTokensRead }) => promptTokensRead);
  assert.equal(read[0], lines[0]!.promptTokens);
  assert.ok(
    read[1]! <= lines[1]!.promptTokens - lines[0]!.promptTokens,
    `${read[1]}: the first turn is not read again`,
  );
  assert.equal(read[2], 1, 'a question that was asked before is still held, all but its last token');
});

test('Ctrl-C stops an answer that is being drawn, and a wait for the next line', async () => {
  const long = [...chatty, '--once', 'hi', '--max-tokens', '2000', '--seed', '1'];
  const stopped = await piped(long, { input: '', interruptWhen: (stdout) => stdout.length > 0 });
  assert.equal(stopped.code, 130, stopped.stderr);
  const short = [...chatty, '--json', '--max-tokens', '3'];
  const waiting = await piped(short, { input: 'hi\n', interruptWhen: (stdout) => stdout.endsWith('\n') });
  assert.equal(waiting.code, 130, waiting.stderr);
  assert.equal(waiting.stdout.split('\n').length, 2, 'one whole answer');
});

test('a reader who has gone ends it quietly', async () => {
  const child = spawn(process.execPath, [MURMUR_MAIN, ...chatty, '--max-tokens', '3'], { stdio: 'pipe' });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdout.once('data', () => {
    child.stdout.destroy();
    child.stdin.write('hi\nhi\nhi\n');
  });
  child.stdin.on('error', () => {}); // it may be gone before all of it is read
  child.stdin.write('hi\n');
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  assert.deepEqual([code, stderr], [0, '']);
});

test('what cannot be asked is told by its code', async () => {
  const failure = async (...args: string[]): Promise<readonly [string, number]> => {
    const { code, stdout } = await runInProcess([...args, '--json']);
    return [(JSON.parse(stdout) as { error: { code: string } }).error.code, code];
  };
  assert.deepEqual(await failure(...STARTER, '--system', 'S', '--once', '1'), ['CHAT_TEMPLATE_MISSING', 4]);
  assert.deepEqual(await failure(...STARTER, '--once', '1'.repeat(200)), ['TOO_LARGE', 1]);
  assert.deepEqual(await failure(...STARTER, '12', '--once', '1'), ['USAGE', 2]);
  assert.deepEqual(await failure(...STARTER, '--temperature', '-1'), ['USAGE', 2]);
  assert.deepEqual(await failure(...STARTER, '--top-p', '0'), ['USAGE', 2]);
  assert.deepEqual(await failure('chat', '--model', join(dir, 'none'), '--once', '1'), ['MODEL_FILE_MISSING', 4]);
});

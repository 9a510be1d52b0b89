// The two files that a tokenizer is, as they are hashed and travel: tokenizer.json and tokenizer_config.json.
// Newer model folders keep the chat template beside them, in chat_template.jinja (transformers ≥ 4.52), which wins over
// the config's own: it is written into the config here, so that tokenizerHash (spec/wire.md) covers the template too.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SwarmError } from '../protocol/errors.ts';
import { missingModelFile } from './small-files.ts';

/** Bytes of both files. */
export interface TokenizerFiles {
  readonly tokenizer: Uint8Array;
  /** with the folder's chat template, wherever that was */
  readonly tokenizerConfig: Uint8Array;
}

const TEMPLATE_FILE = 'chat_template.jinja';

async function readBytes(dir: string, file: string): Promise<Buffer> {
  const path = join(dir, file);
  return readFile(path).catch((cause: unknown) => {
    throw missingModelFile(path, cause);
  });
}

/** The config with the template in it; the very bytes where it says the same already. */
function withTemplate(config: Buffer, template: string, dir: string): Uint8Array {
  let parsed: unknown;
  try {
    parsed = JSON.parse(config.toString('utf8'));
  } catch {
    // reported below with the file's name
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    const path = join(dir, 'tokenizer_config.json');
    throw new SwarmError('MODEL_FILE_CORRUPT', `${path} is not a JSON object. Fetch it again.`, { path });
  }
  if ('chat_template' in parsed && parsed.chat_template === template) return config;
  return Buffer.from(`${JSON.stringify({ ...parsed, chat_template: template }, null, 2)}\n`);
}

/**
 * Reads a model folder's tokenizer. What it gives, written into another folder, reads as the same bytes there.
 * @throws {SwarmError} MODEL_FILE_MISSING, MODEL_FILE_CORRUPT
 */
export async function readTokenizerFiles(dir: string): Promise<TokenizerFiles> {
  const tokenizer = await readBytes(dir, 'tokenizer.json');
  const config = await readBytes(dir, 'tokenizer_config.json');
  const template = await readFile(join(dir, TEMPLATE_FILE), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw new SwarmError('MODEL_FILE_MISSING', `Cannot read ${join(dir, TEMPLATE_FILE)}.`, { dir }, { cause: error });
  });
  return { tokenizer, tokenizerConfig: template === null ? config : withTemplate(config, template, dir) };
}

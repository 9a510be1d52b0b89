// The folder of whole policies: <dir>/<policyRoot>/{model.safetensors, config.json, tokenizer.json, tokenizer_config.json}.
// Invariants: a folder under its root's name is whole and checked (written under another name, flushed, renamed);
// what a crash left unfinished is removed at the start; a full disk leaves everything that was whole.

import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WEIGHTS_FILE } from '../node/model/weight-files.ts';
import { isDiskFull, syncFolder, writeFlushed } from '../node/protocol/disk.ts';
import { SwarmError } from '../node/protocol/errors.ts';
import type { PolicyFiles } from '../node/protocol/ports.ts';

const TEMPORARY = '.tmp';

/** The text files that make weights a model folder. */
export interface ModelTexts {
  readonly config: Uint8Array;
  readonly tokenizer: Uint8Array;
  readonly tokenizerConfig: Uint8Array;
}

export interface PolicyFolders {
  /** removes unfinished folders and lists the whole ones */
  open(): Promise<void>;
  has(policyRoot: string): boolean;
  /** null when not here */
  files(policyRoot: string): Promise<PolicyFiles | null>;
  /** folder of a policy, whether it is here or not */
  dirOf(policyRoot: string): string;
  /**
   * Writes a policy; `check` reads the finished weights file and throws when it is not what it should be.
   * @throws {SwarmError} DISK_FULL, and whatever `check` throws: nothing is left of the folder then
   */
  write(
    policyRoot: string,
    weights: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    texts: ModelTexts,
    check: (weightsFile: string) => Promise<void>,
  ): Promise<void>;
  /** roots of the policies that are here */
  roots(): readonly string[];
  remove(policyRoot: string): Promise<void>;
}

function asDiskError(error: unknown, path: string): unknown {
  if (error instanceof SwarmError || !isDiskFull(error)) return error;
  return new SwarmError(
    'DISK_FULL',
    `no space left while writing ${path}; free some or choose another --data-dir. Whole policies and shards are kept.`,
    { path },
    { cause: error },
  );
}

/** @param dir folder of the policies of one recipe; made when missing */
export function createPolicyFolders(dir: string): PolicyFolders {
  const whole = new Set<string>();
  const writing = new Map<string, Promise<void>>();
  const dirOf = (policyRoot: string): string => join(dir, policyRoot);

  async function writeFolder(
    ...[policyRoot, weights, texts, check]: Parameters<PolicyFolders['write']>
  ): Promise<void> {
    const temporary = dirOf(policyRoot) + TEMPORARY;
    try {
      await rm(temporary, { recursive: true, force: true });
      await mkdir(temporary, { recursive: true });
      await writeFlushed(join(temporary, WEIGHTS_FILE), weights);
      await check(join(temporary, WEIGHTS_FILE));
      await writeFlushed(join(temporary, 'config.json'), [texts.config]);
      await writeFlushed(join(temporary, 'tokenizer.json'), [texts.tokenizer]);
      await writeFlushed(join(temporary, 'tokenizer_config.json'), [texts.tokenizerConfig]);
      await syncFolder(temporary);
      await rm(dirOf(policyRoot), { recursive: true, force: true });
      await rename(temporary, dirOf(policyRoot));
      await syncFolder(dir);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw asDiskError(error, temporary);
    }
    whole.add(policyRoot);
  }

  return {
    dirOf,
    async open() {
      await mkdir(dir, { recursive: true });
      for (const name of await readdir(dir)) {
        if (/^[0-9a-f]{64}$/.test(name)) whole.add(name);
        else if (name.endsWith(TEMPORARY)) await rm(join(dir, name), { recursive: true, force: true });
      }
    },
    has: (policyRoot) => whole.has(policyRoot),
    async files(policyRoot) {
      if (!whole.has(policyRoot)) return null;
      return {
        policyRoot,
        configJson: await readFile(join(dirOf(policyRoot), 'config.json'), 'utf8'),
        weightsFile: join(dirOf(policyRoot), WEIGHTS_FILE),
      };
    },
    async write(policyRoot, weights, texts, check) {
      if (whole.has(policyRoot)) return;
      const running = writing.get(policyRoot) ?? writeFolder(policyRoot, weights, texts, check);
      writing.set(policyRoot, running);
      try {
        await running;
      } finally {
        writing.delete(policyRoot);
      }
    },
    roots: () => [...whole],
    async remove(policyRoot) {
      whole.delete(policyRoot);
      await rm(dirOf(policyRoot), { recursive: true, force: true });
    },
  };
}

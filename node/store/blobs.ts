// Content-addressed files: blobs/ab/<sha256>. Port BlobStore of node/protocol/ports.ts.
// Source: design.md "level" (files are written to a temporary name and renamed); spec/shardcast.md "How it spreads".
// Invariants: a file under its hash is whole; a full disk loses nothing; the sum of sizes stays within the budget.

import { dirname, join } from 'node:path';
import { sha256, toHex } from '../protocol/bytes.ts';
import { errnoOf } from '../protocol/disk.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { BlobStore, Logger } from '../protocol/ports.ts';
import { blobFile, type DataDirLayout } from './data-dir.ts';
import { type FileSystem, makeFolder, readIfThere, writeWhole } from './files.ts';
import { diskError } from './fs-error.ts';

const HASH = /^[0-9a-f]{64}$/;

/** How much of the disk budget is taken. */
export interface DiskUsage {
  readonly usedBytes: number;
  readonly maxBytes: number;
}

/** A blob store that says how full it is, so that services can decide what to delete. */
export interface BlobFiles extends BlobStore {
  usage(): DiskUsage;
}

export interface BlobFilesInit {
  readonly layout: DataDirLayout;
  /** bound on the sum of blob sizes; records are not counted */
  readonly maxDiskBytes: number;
  readonly logger: Logger;
  readonly files: FileSystem;
}

/** Opens the folder of blobs: reads which are there. @throws {SwarmError} DATA_DIR_UNUSABLE */
export async function createBlobFiles(init: BlobFilesInit): Promise<BlobFiles> {
  const sizes = await readSizes(init.files, init.layout.blobs).catch((error: unknown) => {
    throw diskError(error, 'read the folder of blobs');
  });
  return new FolderOfBlobs(init, sizes);
}

async function readSizes(files: FileSystem, folder: string): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  for (const shelf of await files.readdir(folder)) {
    if (!/^[0-9a-f]{2}$/.test(shelf)) continue;
    for (const name of await files.readdir(join(folder, shelf))) {
      if (HASH.test(name)) sizes.set(name, (await files.stat(join(folder, shelf, name))).size);
    }
  }
  return sizes;
}

function missing(hashHex: string): SwarmError {
  return new SwarmError('BLOB_MISSING', `blob ${hashHex} is not on this machine`, { hashHex });
}

class FolderOfBlobs implements BlobFiles {
  readonly #init: BlobFilesInit;
  readonly #sizes: Map<string, number>;
  readonly #writing = new Map<string, Promise<void>>();
  #usedBytes = 0;
  /** of writes under way */
  #reservedBytes = 0;

  constructor(init: BlobFilesInit, sizes: Map<string, number>) {
    this.#init = init;
    this.#sizes = sizes;
    for (const size of sizes.values()) this.#usedBytes += size;
  }

  usage(): DiskUsage {
    return { usedBytes: this.#usedBytes + this.#reservedBytes, maxBytes: this.#init.maxDiskBytes };
  }

  async has(hashHex: string): Promise<boolean> {
    return this.#sizes.has(hashHex);
  }

  async sizeBytes(hashHex: string): Promise<number | null> {
    return this.#sizes.get(hashHex) ?? null;
  }

  async put(bytes: Uint8Array): Promise<string> {
    const hashHex = toHex(sha256(bytes));
    if (this.#sizes.has(hashHex)) return hashHex;
    const running = this.#writing.get(hashHex) ?? this.#bringIn(hashHex, bytes);
    this.#writing.set(hashHex, running);
    try {
      await running;
    } finally {
      this.#writing.delete(hashHex);
    }
    return hashHex;
  }

  async #bringIn(hashHex: string, bytes: Uint8Array): Promise<void> {
    const { files, layout } = this.#init;
    const size = bytes.length;
    const path = blobFile(layout, hashHex);
    this.#checkBudget(size);
    this.#reservedBytes += size;
    try {
      await makeFolder(files, dirname(path));
      await writeWhole(files, layout.temporary, path, bytes);
      this.#sizes.set(hashHex, size);
      this.#usedBytes += size;
    } catch (error) {
      throw diskError(error, `write blob ${hashHex} of ${size} bytes`);
    } finally {
      this.#reservedBytes -= size;
    }
  }

  #checkBudget(size: number): void {
    const { usedBytes, maxBytes } = this.usage();
    if (usedBytes + size <= maxBytes) return;
    throw new SwarmError(
      'DISK_BUDGET',
      `a blob of ${size} bytes does not fit: ${usedBytes} of ${maxBytes} bytes are taken. Raise --max-disk`,
      { size, usedBytes, maxBytes },
    );
  }

  async get(hashHex: string): Promise<Uint8Array> {
    const bytes = this.#sizes.has(hashHex) ? await this.#readFile(hashHex) : null;
    if (bytes === null) {
      this.#forget(hashHex);
      throw missing(hashHex);
    }
    if (toHex(sha256(bytes)) !== hashHex) {
      // Bytes that are not what their name says are of no use; without them the blob can be fetched anew.
      this.#init.logger.warn({ hashHex, sizeBytes: bytes.length }, 'deleting a corrupt blob');
      await this.delete(hashHex);
      throw new SwarmError('BLOB_CORRUPT', `blob ${hashHex} was damaged on disk and is deleted; fetch it again`, {
        hashHex,
      });
    }
    return bytes;
  }

  async #readFile(hashHex: string): Promise<Uint8Array | null> {
    try {
      return await readIfThere(this.#init.files, blobFile(this.#init.layout, hashHex));
    } catch (error) {
      throw diskError(error, `read blob ${hashHex}`);
    }
  }

  async read(hashHex: string, offset: number, length: number): Promise<Uint8Array> {
    const size = this.#sizes.get(hashHex);
    if (size === undefined) throw missing(hashHex);
    const out = new Uint8Array(Math.max(0, Math.min(length, size - offset)));
    try {
      const handle = await this.#init.files.open(blobFile(this.#init.layout, hashHex), 'r');
      try {
        const { bytesRead } = await handle.read(out, 0, out.length, offset);
        return out.subarray(0, bytesRead);
      } finally {
        await handle.close();
      }
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw diskError(error, `read blob ${hashHex}`);
      this.#forget(hashHex);
      throw missing(hashHex);
    }
  }

  async delete(hashHex: string): Promise<void> {
    if (!this.#sizes.has(hashHex)) return;
    try {
      await this.#init.files.rm(blobFile(this.#init.layout, hashHex), { force: true });
    } catch (error) {
      throw diskError(error, `delete blob ${hashHex}`);
    }
    this.#forget(hashHex);
  }

  #forget(hashHex: string): void {
    this.#usedBytes -= this.#sizes.get(hashHex) ?? 0;
    this.#sizes.delete(hashHex);
  }

  async *list(): AsyncIterable<{ readonly hashHex: string; readonly sizeBytes: number }> {
    for (const [hashHex, sizeBytes] of [...this.#sizes]) yield { hashHex, sizeBytes };
  }
}

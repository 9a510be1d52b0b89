// Small records in LevelDB, one sublevel a name. Port Records of node/protocol/ports.ts.
// Invariants: a batch is all or nothing; what was awaited survives kill -9 (the kernel has it; a power failure may
// take the last seconds, never a part of a batch).

import type { Level } from 'level';
import { plainBytes } from '../protocol/bytes.ts';
import type { Records } from '../protocol/ports.ts';
import { diskError } from './fs-error.ts';

export type Database = Level<string, Uint8Array>;

/** The records called `name`: letters, digits and `-`. */
export function createRecords(db: Database, name: string): Records {
  const level = db.sublevel<string, Uint8Array>(name, { keyEncoding: 'utf8', valueEncoding: 'view' });
  const guarded = async <T>(doing: string, run: () => Promise<T>): Promise<T> => {
    try {
      return await run();
    } catch (error) {
      throw diskError(error, `${doing} records of "${name}"`);
    }
  };
  return {
    get: (key) =>
      guarded('read', async () => {
        const value = await level.get(key);
        return value === undefined ? undefined : plainBytes(value);
      }),
    has(key) {
      try {
        // asked of the database, which is open: a sublevel opens only after the turn that named it
        return db.getSync(level.prefixKey(key, 'utf8')) !== undefined;
      } catch (error) {
        throw diskError(error, `read records of "${name}"`);
      }
    },
    put: (key, value) => guarded('write', () => level.put(key, value)),
    delete: (key) => guarded('delete', () => level.del(key)),
    batch: (entries) =>
      guarded('write', () =>
        level.batch(
          entries.map(([key, value]) => (value === null ? { type: 'del', key } : { type: 'put', key, value })),
        ),
      ),
    async *entries(range = {}) {
      try {
        for await (const [key, value] of level.iterator(range)) yield [key, plainBytes(value)] as const;
      } catch (error) {
        throw diskError(error, `read records of "${name}"`);
      }
    },
  };
}

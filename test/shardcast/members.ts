// Members of a swarm in memory that follow one recipe's chain, and the trainer that publishes for them.

import type { TestContext } from 'node:test';
import { toHex } from '../../node/protocol/bytes.ts';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import type { ChainPolicy } from '../../node/protocol/ports.ts';
import { createPolicyChain, type PolicyChainInit, type PolicyChainService } from '../../shardcast/chain.ts';
import { createShardFetcher } from '../../shardcast/fetch.ts';
import { createPolicyFolders } from '../../shardcast/policies.ts';
import { createPublisher, type Publisher } from '../../shardcast/publish.ts';
import type { ChainRecipe } from '../../shardcast/recipe.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { type MemoryFetcher, memoryFetcher } from '../support/memory-fetcher.ts';
import { type MemoryInbox, memoryInbox } from '../support/memory-inbox.ts';
import { memoryBlobs } from '../support/memory-store.ts';
import { chainRecipe, policyAt, TEXTS } from '../support/policies.ts';
import { silentLogger as logger } from '../support/silent-logger.ts';
import { tempDir } from '../support/temp-dir.ts';

export const SHARD_BYTES = 4096;

export interface Member {
  readonly inbox: MemoryInbox;
  readonly blobs: ReturnType<typeof memoryBlobs>;
  readonly fetcher: MemoryFetcher;
  readonly chain: PolicyChainService;
  readonly dir: string;
  readonly clock: ReturnType<typeof fakeClock>;
  readonly ready: ChainPolicy[];
  readonly policies: ReturnType<typeof createPolicyFolders>;
}

export async function member(
  t: TestContext,
  init: PolicyChainInit,
  inbox: MemoryInbox,
  maxDiskBytes?: number,
): Promise<Member> {
  const dir = await tempDir(t);
  const blobs = memoryBlobs(maxDiskBytes === undefined ? {} : { maxDiskBytes });
  const clock = fakeClock();
  const fetcher = memoryFetcher(blobs);
  const policies = createPolicyFolders(dir);
  const shards = createShardFetcher({ fetcher, blobs, clock, logger }, { rangeBytes: 1000 });
  const chain = createPolicyChain({ inbox, blobs, fetcher, shards, policies, clock, logger }, init);
  inbox.stageZero.manifest = chain.stageZero;
  const ready: ChainPolicy[] = [];
  chain.onReady((policy) => ready.push(policy));
  await chain.start();
  t.after(() => chain.stop());
  return { inbox, blobs, fetcher, chain, dir, clock, ready, policies };
}

export interface Swarm {
  readonly recipe: ChainRecipe;
  readonly keyPair: KeyPair;
  readonly trainer: Member;
  readonly publisher: Publisher;
  publish(n: number): Promise<void>;
}

export async function swarm(t: TestContext, keepPolicies: number = 5): Promise<Swarm> {
  const keyPair = createKeyPair();
  const recipe = chainRecipe([toHex(keyPair.publicKey)], keepPolicies);
  const inbox = memoryInbox(keyPair);
  const trainer = await member(t, { recipe, texts: TEXTS }, inbox);
  const { blobs, clock, policies } = trainer;
  const publisher = createPublisher(
    { inbox, blobs, policies, clock, logger },
    { recipe, texts: TEXTS, shardBytes: SHARD_BYTES },
  );
  return {
    recipe,
    keyPair,
    trainer,
    publisher,
    async publish(n) {
      await publisher.publish({
        policyStep: n,
        parentRoot: n === 0 ? null : policyAt(n - 1).root,
        weights: policyAt(n).weights,
        admission: { wantGroups: 10 + n, activePeers: 2 },
        record: null,
      });
    },
  };
}

export async function joined(
  t: TestContext,
  s: Swarm,
  init: Partial<PolicyChainInit> = {},
  maxDiskBytes?: number,
): Promise<Member> {
  const other = await member(t, { recipe: s.recipe, ...init }, memoryInbox(), maxDiskBytes);
  other.fetcher.peers.set('trainer', { blobs: s.trainer.blobs });
  s.trainer.inbox.others.push(other.inbox);
  return other;
}

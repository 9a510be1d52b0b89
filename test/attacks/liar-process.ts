// A process of liars for tests: honest rollout workers on real participants, each with something between it and the swarm that
// lies; and verifiers that lie (lying-judges.ts). Prints one JSON line a liar, {lie, peerId}, once it works; ends by signal.
// usage: node liar-process.ts DIR ADDRESS NETWORK LIE…

import { join } from 'node:path';
import type { Participant } from '../../node/cli/participant.ts';
import { createParticipant } from '../../node/cli/participant.ts';
import type { KnownRecipe } from '../../node/cli/recipe-book.ts';
import { waitForTokenizer } from '../../node/cli/roles/tokenizer.ts';
import { createLogger, systemClock } from '../../node/cli/system.ts';
import { createPolicyEngine } from '../../node/model/engine/engine.ts';
import type { Tokenizer } from '../../node/model/tokenizer.ts';
import { decodeBody, encodeBody } from '../../node/protocol/body.ts';
import { sha256, toHex } from '../../node/protocol/bytes.ts';
import { decodeGroup, encodeGroup, type GroupAnnouncement } from '../../node/protocol/group.ts';
import type { Inbox, PolicyEngine, SignedMessage } from '../../node/protocol/ports.ts';
import { groupSeed } from '../../node/protocol/seeds.ts';
import { createProver } from '../../node/rollout/prover.ts';
import { createRolloutWorker } from '../../node/rollout/worker.ts';
import { JUDGEMENTS, startJudge } from './lying-judges.ts';

interface Scene {
  readonly participant: Participant;
  readonly known: KnownRecipe;
  readonly tokenizer: Tokenizer;
}

/** What is announced in place of the truth. */
type Lie = (truth: GroupAnnouncement, scene: Scene) => Promise<GroupAnnouncement>;

const MILLION = 1_000_000;
const END = 1;

const inflate: Lie = async (truth) => ({ ...truth, rewards: truth.rewards.map(() => MILLION) });

/** The right answer, with a thought of the liar's own, in place of every completion. */
const edit: Lie = async (truth, { participant, known, tokenizer }) => {
  const { problem } = known.resolved.problemFor(groupSeed(truth));
  const tokens = Uint32Array.of(...tokenizer.encode(`<a1>${problem.answer}`, { addSpecialTokens: false }), END);
  const { blobs } = participant.store;
  const body = decodeBody(await blobs.get(toHex(truth.bodyHash)));
  const proofs = body.sequences.find((each) => each.proofs.length > 0)!.proofs;
  const logprobs = new Float32Array(tokens.length).fill(-0.3);
  const bytes = encodeBody({
    ...body,
    sequences: body.sequences.map(() => ({ tokens, logprobs, finish: 'eos', proofs })),
  });
  await blobs.put(bytes);
  return {
    ...truth,
    rewards: truth.rewards.map(() => MILLION),
    lengths: truth.lengths.map(() => tokens.length),
    bodyHash: sha256(bytes),
    bodyBytes: bytes.length,
  };
};

/** The newest group of somebody else, under its own name. */
const copy: Lie = async (truth, { participant }) => {
  const heard = Promise.withResolvers<SignedMessage>();
  const unlisten = participant.inbox.on('group', (message) => {
    if (message.peerIdString !== participant.keyPair.peerIdString) heard.resolve(message);
  });
  const { rewards, lengths, bodyHash, bodyBytes } = decodeGroup((await heard.promise).payload);
  unlisten();
  return { ...truth, rewards, lengths, bodyHash, bodyBytes };
};

const LIES: Readonly<Record<string, Lie>> = { inflate, edit, copy };

/** The inbox that a worker is given: what it announces is another thing on its way out. */
function lyingInbox(scene: Scene, lie: Lie): Inbox {
  const { inbox } = scene.participant;
  return {
    ...inbox,
    async publish(kind, payload, scope) {
      const lied = kind === 'group' ? encodeGroup(await lie(decodeGroup(payload), scene)) : payload;
      return inbox.publish(kind, lied, scope);
    },
  };
}

async function recipeOf({ book }: Participant): Promise<KnownRecipe> {
  for (;;) {
    const known = book.list().find(({ resolved }) => book.isOpen(resolved.recipeIdHex));
    if (known !== undefined) return known;
    await systemClock.sleep(100);
  }
}

async function joinSwarm(name: string): Promise<Participant> {
  const [dir, address, network] = process.argv.slice(2) as [string, string, string];
  const options = {
    dataDir: join(dir, name),
    network,
    join: [address],
    host: '127.0.0.1',
    port: 0,
    loopback: true,
    mdns: false,
    relay: false,
    maxDisk: 2 ** 30,
    logLevel: 'warn',
    json: true,
  };
  return createParticipant({ emit: () => undefined, logger }, options);
}

async function startLiar(name: string, participant: Participant, engine: PolicyEngine): Promise<void> {
  const known = await recipeOf(participant);
  const followed = await participant.follow(known);
  const tokenizer = await waitForTokenizer(followed, new AbortController().signal);
  const worker = createRolloutWorker(
    {
      inbox: lyingInbox({ participant, known, tokenizer }, LIES[name]!),
      blobs: participant.store.blobs,
      chain: followed.chain,
      engine,
      prover: createProver(),
      records: participant.store.records(`rollout-${known.resolved.recipeIdHex}`),
      clock: systemClock,
      logger,
      tokenizer,
    },
    { recipe: known.resolved, peerId: participant.keyPair.peerId },
  );
  await worker.start();
}

async function start(name: string, engine: PolicyEngine): Promise<void> {
  const participant = await joinSwarm(name);
  const judgement = JUDGEMENTS[name];
  if (judgement === undefined) await startLiar(name, participant, engine);
  else {
    const { known } = await participant.follow(await recipeOf(participant));
    await startJudge(participant, known.resolved, judgement);
  }
  console.log(JSON.stringify({ lie: name, peerId: participant.keyPair.peerIdString }));
}

const logger = createLogger('warn');
const engine = createPolicyEngine({ threads: 1, memoryBytes: 2 ** 28 });
await Promise.all(process.argv.slice(5).map((name) => start(name, engine)));

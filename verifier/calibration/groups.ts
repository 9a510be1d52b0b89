// Groups as peers make them, of made-up peers, in whatever batches a setting has. What is told of a group: tokens and claims.
// Source: spec/rollouts.md. Invariant: seeds, problems and prompts are those of (recipe, policy, peer, slot), whoever lies.

import type { GroupBody } from '../../node/protocol/body.ts';
import { fromHex, sha256 } from '../../node/protocol/bytes.ts';
import type { GroupAnnouncement } from '../../node/protocol/group.ts';
import type {
  GeneratedSequence,
  GenerateRequest,
  PolicyEngine,
  ReplayedSequence,
  SamplingSettings,
} from '../../node/protocol/ports.ts';
import { groupSeed, sequenceSeed } from '../../node/protocol/seeds.ts';
import { promptOf } from '../../recipes/prompt.ts';
import type { Problem } from '../../recipes/tasks/task.ts';
import { type BodyContext, samplingOf } from '../checks/subject.ts';
import { proveCompletion } from '../toploc/completion.ts';
import type { TopValuesScratch } from '../toploc/top-values.ts';

/** An engine, and how many groups it is given at once: unlike batches add up in unlike orders. */
export interface Setting {
  readonly name: string;
  readonly engine: PolicyEngine;
  readonly groupsPerCall: number;
  /** tokens of one sequence more in every call: it widens the cache that all of them attend over; 0 for none */
  readonly crowdTokens: number;
}

/** The policy that is claimed, under its recipe. */
export interface Truth {
  readonly context: BodyContext;
  /** hex */
  readonly policyRoot: string;
}

/** A slot that is to be filled. */
export interface Assigned {
  readonly names: Pick<GroupAnnouncement, 'recipeId' | 'policyRoot' | 'peerId' | 'slot'>;
  readonly seed: Uint8Array;
  readonly problem: Problem;
  readonly request: GenerateRequest;
}

/** A group as it is told: what a body holds but proofs, and the states that they are made of. */
export interface Told {
  readonly assigned: Assigned;
  readonly sequences: readonly GeneratedSequence[];
  /** sequences that are not what the policy draws; none: an honest group */
  readonly lied: readonly boolean[];
}

/** An Ed25519 peer id's multihash (identity, protobuf key) of a key that nobody has. */
function madeUpPeer(label: string): Uint8Array {
  return Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20, ...sha256('murmuration/calibration/peer/1', label));
}

/** The slots from … from + count − 1 of a made-up peer. */
export function assign({ context, policyRoot }: Truth, peer: string, from: number, count: number): Assigned[] {
  const { recipe, tokenizer } = context;
  return Array.from({ length: count }, (_, k) => {
    const names = {
      recipeId: recipe.recipeId,
      policyRoot: fromHex(policyRoot, 32),
      peerId: madeUpPeer(peer),
      slot: from + k,
    };
    const seed = groupSeed(names);
    const { problem } = recipe.problemFor(seed);
    const sequenceSeeds = Array.from({ length: recipe.recipe.groupSize }, (__, i) => sequenceSeed(seed, i));
    return { names, seed, problem, request: { prompt: promptOf(tokenizer, problem).tokens, sequenceSeeds } };
  });
}

/** A sequence of `tokens` tokens made of a prompt that repeats itself. */
function crowd(prompt: Uint32Array, tokens: number): Uint32Array {
  return Uint32Array.from({ length: tokens }, (_, i) => prompt[i % prompt.length]!);
}

/** Generates requests in a setting's batches. */
export async function generate(
  { engine, groupsPerCall, crowdTokens }: Setting,
  policyRoot: string,
  sampling: SamplingSettings,
  requests: readonly GenerateRequest[],
  signal?: AbortSignal,
): Promise<GeneratedSequence[][]> {
  const made: GeneratedSequence[][] = [];
  for (let from = 0; from < requests.length; from += groupsPerCall) {
    const call = requests.slice(from, from + groupsPerCall);
    const { prompt, sequenceSeeds } = call[0]!;
    const wide =
      crowdTokens === 0 ? [] : [{ prompt: crowd(prompt, crowdTokens), sequenceSeeds: sequenceSeeds.slice(0, 1) }];
    const answers = await engine.generate(policyRoot, sampling, [...wide, ...call], signal);
    for (const answer of answers.slice(wide.length)) made.push([...answer]);
  }
  return made;
}

/** Replays groups in a setting's batches. @returns [group][sequence] */
export async function replay(
  { engine, groupsPerCall, crowdTokens }: Setting,
  policyRoot: string,
  sampling: SamplingSettings,
  groups: readonly Told[],
  signal?: AbortSignal,
): Promise<ReplayedSequence[][]> {
  const found: ReplayedSequence[][] = [];
  for (let from = 0; from < groups.length; from += groupsPerCall) {
    const call = groups.slice(from, from + groupsPerCall);
    const requests = call.flatMap(({ assigned, sequences }) =>
      sequences.map(({ tokens }) => ({ prompt: assigned.request.prompt, tokens })),
    );
    const first = requests[0]!;
    const wide = crowdTokens === 0 ? [] : [{ prompt: crowd(first.prompt, crowdTokens), tokens: first.tokens }];
    const answers = await engine.replay(policyRoot, sampling, [...wide, ...requests], signal);
    let at = wide.length;
    for (const { sequences } of call) {
      found.push(answers.slice(at, at + sequences.length));
      at += sequences.length;
    }
  }
  return found;
}

/** The body of a told group, proofs of its own states. */
export function bodyOf({ assigned, sequences }: Told, hiddenSize: number, scratch?: TopValuesScratch): GroupBody {
  return {
    prompt: assigned.request.prompt,
    sequences: sequences.map(({ tokens, logprobs, finish, hidden }) => ({
      ...{ tokens, logprobs, finish },
      proofs: proveCompletion(hidden, hiddenSize, scratch),
    })),
  };
}

/** What stage 1 reads of an announcement; rewards as they come out. */
export function announcementOf({ context }: Truth, { assigned, sequences }: Told): GroupAnnouncement {
  return {
    ...assigned.names,
    policyStep: 0,
    rewards: sequences.map((sequence) => rewardOf(context, assigned, sequence)),
    lengths: sequences.map(({ tokens }) => tokens.length),
    // Stage 1 proper begins after the body was fetched by its hash.
    bodyHash: new Uint8Array(32),
    bodyBytes: 1,
  };
}

/** Millionths. */
export function rewardOf(
  { recipe, tokenizer }: BodyContext,
  { problem }: Assigned,
  { tokens, finish }: GeneratedSequence,
): number {
  return recipe.score(problem, tokenizer.decode(finish === 'eos' ? tokens.subarray(0, -1) : tokens));
}

/** The sampling that the recipe asks for. */
export function honestSampling({ context }: Truth): SamplingSettings {
  return samplingOf(context);
}

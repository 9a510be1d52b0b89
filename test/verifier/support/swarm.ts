// A recipe, a chain of policies, and peers who make groups for it, honest or as a test alters them.

import { readFileSync } from 'node:fs';
import { encodeBody, type GroupBody } from '../../../node/protocol/body.ts';
import { fromHex, sha256 } from '../../../node/protocol/bytes.ts';
import type { CheckCode } from '../../../node/protocol/check.ts';
import { encodeGroup, type GroupAnnouncement } from '../../../node/protocol/group.ts';
import { createKeyPair, type KeyPair } from '../../../node/protocol/keys.ts';
import type { ChainPolicy, PolicyChain, SignedMessage } from '../../../node/protocol/ports.ts';
import { groupSeed, sequenceSeed } from '../../../node/protocol/seeds.ts';
import { encodeVerdict } from '../../../node/protocol/verdict.ts';
import { promptOf } from '../../../recipes/prompt.ts';
import { type ResolvedRecipe, resolveRecipe } from '../../../recipes/resolve.ts';
import { canonicalRecipe, parseRecipe, type RecipeSource } from '../../../recipes/schema.ts';
import { type BodyContext, limitsOf, samplingOf, type TextCodec } from '../../../verifier/checks/subject.ts';
import { proveCompletion } from '../../../verifier/toploc/completion.ts';
import { signAs } from '../../support/memory-inbox.ts';
import { madeUpHex, shippedSource } from '../../support/recipe-sources.ts';
import { HIDDEN_SIZE, MODEL_VOCABULARY, type ScriptedPolicy, scriptedPolicy } from './scripted-policy.ts';

export const GROUP_SIZE = 4;

/** The starter model's tokenizer without its package (which takes a second to load): one token a character. */
export function starterTokenizer(): TextCodec {
  const url = new URL('../../../recipes/starter/tokenizer.json', import.meta.url);
  const { model } = JSON.parse(readFileSync(url, 'utf8')) as { model: { vocab: Record<string, number> } };
  const texts = new Map(Object.entries(model.vocab).map(([text, id]) => [id, text]));
  return {
    vocabSize: Math.max(...texts.keys()) + 1,
    encode: (text) => [...text].map((char) => model.vocab[char]!),
    decode: (ids) => Array.from(ids, (id) => texts.get(id) ?? '').join(''),
    chatText: (turns) => turns.map(({ content }) => content).join(''),
  };
}

/** Follow the arrows, with small groups and a short probation. */
export function testRecipe(verification: RecipeSource = {}, replaced: RecipeSource = {}): ResolvedRecipe {
  return resolveRecipe(parseRecipe(testRecipeBytes(verification, replaced)));
}

/** The same in its canonical form. */
export function testRecipeBytes(verification: RecipeSource = {}, replaced: RecipeSource = {}): Uint8Array {
  const source = shippedSource('arrows', {
    groupSize: GROUP_SIZE,
    staleness: { maxLagSteps: 4, keepPolicies: 5 },
    verification: { probationGroups: 2, ...verification },
    ...replaced,
  });
  return canonicalRecipe(source);
}

export function testContext(recipe: ResolvedRecipe = testRecipe()): BodyContext {
  return { recipe, tokenizer: starterTokenizer(), modelVocabulary: MODEL_VOCABULARY, hiddenSize: HIDDEN_SIZE };
}

/** The made-up root of a policy step. */
export function rootOf(policyStep: number): string {
  return madeUpHex(`policy ${policyStep}`);
}

/** A group with what belongs to it. */
export interface MadeGroup {
  readonly announcement: GroupAnnouncement;
  readonly body: GroupBody;
  readonly bytes: Uint8Array;
  readonly message: SignedMessage;
}

/** What a liar changes: before the body is hashed, and in the announcement after that. */
export interface Alteration {
  /** the root that the group names, hex; default `rootOf` its step */
  readonly root?: string;
  readonly policy?: ScriptedPolicy;
  readonly body?: (body: GroupBody) => GroupBody;
  readonly announcement?: (announcement: GroupAnnouncement) => GroupAnnouncement;
}

/** Makes the group of (policy, recipe, peer, slot) as spec/rollouts.md says, then alters it. */
export function makeGroup(
  context: BodyContext,
  keyPair: KeyPair,
  slot: number,
  policyStep = 0,
  alteration: Alteration = {},
): MadeGroup {
  const { recipe, tokenizer } = context;
  const policyRoot = fromHex(alteration.root ?? rootOf(policyStep));
  const names = { recipeId: recipe.recipeId, policyRoot, peerId: keyPair.peerId, slot };
  const seed = groupSeed(names);
  const { problem } = recipe.problemFor(seed);
  const prompt = promptOf(tokenizer, problem).tokens;
  const policy = alteration.policy ?? scriptedPolicy(rootOf(policyStep));
  const made = Array.from({ length: recipe.recipe.groupSize }, (_, i) => {
    const { hidden, ...rest } = policy.generate(prompt, sequenceSeed(seed, i), samplingOf(context));
    return { ...rest, proofs: proveCompletion(hidden, context.hiddenSize) };
  });
  const body = (alteration.body ?? same)({ prompt, sequences: made });
  const bytes = encodeBody(body);
  const announcement = (alteration.announcement ?? same)({
    ...names,
    policyStep,
    rewards: body.sequences.map(({ tokens, finish }) =>
      recipe.score(problem, tokenizer.decode(finish === 'eos' ? tokens.subarray(0, -1) : tokens)),
    ),
    lengths: body.sequences.map(({ tokens }) => tokens.length),
    bodyHash: sha256(bytes),
    bodyBytes: bytes.length,
  });
  return { announcement, body, bytes, message: signAs(keyPair, 'group', encodeGroup(announcement)) };
}

/** What a verdict on a group of this peer is about. */
export interface Judged {
  readonly peer: Pick<KeyPair, 'peerId'>;
  readonly policyStep: number;
  readonly slot: number;
  /** why it is rejected; null: it is accepted */
  readonly code?: CheckCode | null;
}

/** A verdict, as anybody may say it of any group. */
export function verdictBy(
  by: KeyPair,
  recipe: ResolvedRecipe,
  { peer, policyStep, slot, code = null }: Judged,
): SignedMessage {
  const payload = encodeVerdict({
    ...{ recipeId: recipe.recipeId, policyStep, groupId: sha256(`group ${slot}`), peerId: peer.peerId, slot },
    ...{ answer: code === null ? 'accept' : 'reject', code, limits: limitsOf(recipe) },
    ...{ secretHash: sha256('secret'), sequencesReplayed: 1 },
  });
  return signAs(by, 'verdict', payload);
}

function same<T>(value: T): T {
  return value;
}

/** Replaces one sequence of a body. */
export function withSequence(
  index: number,
  change: (sequence: GroupBody['sequences'][number]) => GroupBody['sequences'][number],
): (body: GroupBody) => GroupBody {
  return (body) => ({ ...body, sequences: body.sequences.map((each, i) => (i === index ? change(each) : each)) });
}

/** A chain whose policies a test publishes by hand. */
export interface TestChain extends PolicyChain {
  /** the newest step announced and, unless told otherwise, ready */
  moveTo(policyStep: number, readyStep?: number): void;
  /** files of steps before this one are gone */
  evictBefore: number;
}

export function testChain(policyStep = 0): TestChain {
  let announced = policyStep;
  let ready = policyStep;
  const listeners = new Set<(policy: ChainPolicy) => void>();
  const at = (step: number): ChainPolicy | null =>
    step < 0 || step > announced
      ? null
      : {
          policyStep: step,
          policyRoot: rootOf(step),
          manifestId: madeUpHex(`manifest ${step}`),
          wantGroups: 16,
          activePeers: 1,
          closing: false,
        };
  const chain: TestChain = {
    evictBefore: 0,
    moveTo(step, readyStep = step) {
      announced = step;
      ready = readyStep;
      for (const listener of listeners) listener(at(ready)!);
    },
    announced: () => at(announced),
    ready: () => at(ready),
    at,
    async files(policyRoot) {
      for (let step = chain.evictBefore; step <= ready; step++) {
        if (rootOf(step) === policyRoot) return { policyRoot, configJson: '{}', weightsFile: `/nowhere/${step}` };
      }
      return null;
    },
    onReady(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  return chain;
}

let peers = 0;

/** The next key of a fixed list, so that a test file's groups are the same in every run. */
export function newPeer(): KeyPair {
  const label = `test peer ${peers++}`;
  return createKeyPair((count) => sha256(label).subarray(0, count));
}

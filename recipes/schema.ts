// A recipe: what to train, on what, how; signed data, never code. Written as YAML or JSON, kept as RFC 8785 JSON.
// Source: spec/wire.md "Signed things", spec/grpo.md, spec/rollouts.md. Left out: what changes during training (manifest).
// Invariants: recipeId = SHA-256 of the canonical bytes as the author wrote them, defaults not filled in; every function
// here throws nothing but RecipeError.

import canonicalize from 'canonicalize';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { sha256, toHex, utf8 } from '../node/protocol/bytes.ts';
import { MAX_GROUP_SIZE, MAX_GROUP_TOKENS, MIN_GROUP_SIZE, RECIPE_MAX_BYTES } from '../node/protocol/limits.ts';
import { RecipeError } from './error.ts';
import { checkPlainJson, isJsonObject, type Json, type JsonObject } from './json.ts';
import { rewardFunction, rewardFunctions } from './rewards/table.ts';
import {
  examplesChatSchema,
  grpoSchema,
  hex32,
  modelSchema,
  type RecipeGrpo,
  type RecipeModel,
  type RecipeReward,
  type RecipeSampling,
  type RecipeStaleness,
  type RecipeTask,
  type RecipeVerification,
  rowsTaskSchema,
  samplingSchema,
  stalenessSchema,
  taskWeight,
  verificationSchema,
} from './sections.ts';
import { taskFamilies, taskFamily } from './tasks/table.ts';

/** Problems named in one error message. */
const MAX_REPORTED_ISSUES = 5;

/** A recipe as its author wrote it: plain JSON, not yet checked against the schema, defaults not filled in. */
export type RecipeSource = JsonObject;

/** A recipe that passed the schema, defaults filled in, with the id of the bytes that it came from. */
export interface Recipe extends RecipeFields {
  /** lower-case hex */
  readonly recipeIdHex: string;
}

/** What a recipe says, defaults filled in. */
export interface RecipeFields {
  readonly version: 1;
  readonly name: string;
  readonly description: string;
  readonly author: string;
  readonly model: RecipeModel;
  readonly tasks: readonly RecipeTask[];
  readonly rewards: readonly RecipeReward[];
  readonly groupSize: number;
  readonly sampling: RecipeSampling;
  readonly grpo: RecipeGrpo;
  readonly staleness: RecipeStaleness;
  readonly verification: RecipeVerification;
  readonly trainers: readonly string[];
  readonly maxKeyShare: number;
}

function tasksSchema(): z.ZodType<readonly RecipeTask[]> {
  const generated = taskFamilies().map(([id, family]) =>
    z.strictObject({
      task: z.literal(id).describe(family.description),
      weight: taskWeight(),
      settings: family.settings.prefault({}).describe('difficulty'),
      chat: examplesChatSchema.exactOptional(),
    }),
  );
  return z
    .array(z.union([...generated, rowsTaskSchema]))
    .min(1)
    .max(64);
}

function rewardsSchema(): z.ZodType<readonly RecipeReward[]> {
  const terms = rewardFunctions().map(([id, reward]) =>
    z.strictObject({
      reward: z.literal(id).describe(reward.description),
      weight: z.number().min(-10).max(10).default(1).describe('factor of this term, in steps of one millionth'),
      settings: reward.settings.prefault({}).describe('settings of the reward'),
    }),
  );
  return z.array(z.union(terms)).min(1).max(8);
}

function buildSchema(): z.ZodType<RecipeFields> {
  return z
    .strictObject({
      version: z.literal(1).describe('version of this format'),
      name: z
        .string()
        .regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'expected up to 64 of a-z, 0-9 and -')
        .describe('short name'),
      description: z.string().max(2_000).default('').describe('what it is for'),
      author: hex32('public key (Ed25519) of the author, who signs the recipe'),
      model: modelSchema.describe('what training starts from'),
      tasks: tasksSchema().describe('where problems come from'),
      rewards: rewardsSchema().describe('terms that add up to the reward of a completion'),
      groupSize: z.int().min(MIN_GROUP_SIZE).max(MAX_GROUP_SIZE).default(16).describe('rollouts of one problem'),
      sampling: samplingSchema.describe('how completions are drawn'),
      grpo: grpoSchema.prefault({}).describe('the optimisation'),
      staleness: stalenessSchema.prefault({}).describe('how old rollouts may be, what a step waits for'),
      verification: verificationSchema.prefault({}).describe('what rollouts are held to'),
      trainers: z.array(hex32('public key (Ed25519)')).min(1).max(64).describe('keys that may publish weights'),
      maxKeyShare: z
        .number()
        .gt(0)
        .max(1)
        .default(1 / 8)
        .describe('largest share of a batch from one key, of 8 or more'),
    })
    .refine((recipe) => recipe.groupSize * recipe.sampling.maxNewTokens <= MAX_GROUP_TOKENS, {
      message: `groupSize · maxNewTokens must not exceed ${MAX_GROUP_TOKENS}: lower one of them`,
      path: ['sampling', 'maxNewTokens'],
    });
}

const recipeSchema: z.ZodType<RecipeFields> = buildSchema();

function invalid(path: string, problem: string, cause?: unknown): RecipeError {
  return new RecipeError('RECIPE_INVALID', `${path}: ${problem}`, { path }, { cause });
}

function notAnObject(): RecipeError {
  const expected = 'expected an object with fields such as name, tasks and rewards';
  return invalid('recipe', `${expected}; recipes/recipe.schema.json lists every field`);
}

/** Fetches names from what may be a list of objects, to say which of them are unknown before anything else. */
function checkNames(list: Json | undefined, field: string, look: (id: string) => unknown): void {
  if (!Array.isArray(list)) return;
  for (const item of list) {
    const id: unknown = isJsonObject(item) ? item[field] : undefined;
    if (typeof id === 'string') look(id);
  }
}

/** `recipe.tasks[0].weight` from a zod path. */
function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) => text + (typeof part === 'number' ? `[${part}]` : `.${String(part)}`),
    'recipe',
  );
}

/** Of a failed union, the complaints of the branch that came nearest: with no wrong name, then with the fewest. */
function flattenIssue(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
  const cost = (branch: readonly z.core.$ZodIssue[]): number =>
    branch.length + (branch.some((inner) => ['task', 'reward', 'rows'].includes(String(inner.path[0]))) ? 1000 : 0);
  const nearest = issue.errors.reduce((best, branch) => (cost(branch) < cost(best) ? branch : best));
  return nearest.flatMap((inner) => flattenIssue({ ...inner, path: [...issue.path, ...inner.path] }));
}

function fromZod(error: z.ZodError): RecipeError {
  const issues = error.issues.flatMap(flattenIssue);
  const lines = issues.slice(0, MAX_REPORTED_ISSUES).map((issue) => `${pathText(issue.path)}: ${issue.message}`);
  if (issues.length > lines.length) lines.push(`and ${issues.length - lines.length} more`);
  const text = lines.join('; ').slice(0, 2_000);
  return new RecipeError(
    'RECIPE_INVALID',
    `${text}. Correct the recipe; recipes/recipe.schema.json lists every field`,
    {
      path: pathText(issues[0]?.path ?? []).slice(0, 200),
      issues: issues.length,
    },
  );
}

/** Checks plain JSON against the schema and fills defaults in. */
function check(source: Json): RecipeFields {
  if (!isJsonObject(source)) throw notAnObject();
  checkNames(source['tasks'], 'task', taskFamily);
  checkNames(source['rewards'], 'reward', rewardFunction);
  const result = recipeSchema.safeParse(source);
  if (!result.success) throw fromZod(result.error);
  return result.data;
}

function checkSize(bytes: number): void {
  if (bytes <= RECIPE_MAX_BYTES) return;
  throw new RecipeError(
    'RECIPE_TOO_LARGE',
    `a recipe may take ${RECIPE_MAX_BYTES} bytes, this one takes ${bytes}: give it fewer or shorter rows`,
    { bytes, maxBytes: RECIPE_MAX_BYTES },
  );
}

function parseYaml(text: string): unknown {
  const document = parseDocument(text, { uniqueKeys: true, logLevel: 'silent', prettyErrors: true });
  const error = document.errors[0];
  if (error !== undefined) throw error;
  // No aliases: they are how a few bytes of YAML become gigabytes.
  return document.toJS({ maxAliasCount: 0 });
}

/**
 * Reads a recipe, or a template of one, as a person wrote it. Gives plain JSON; the schema is checked later.
 * @throws {RecipeError} RECIPE_TOO_LARGE, RECIPE_INVALID
 */
export function parseRecipeText(text: string, format: 'yaml' | 'json'): RecipeSource {
  checkSize(utf8(text).length);
  let value: unknown;
  try {
    value = format === 'json' ? JSON.parse(text) : parseYaml(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.slice(0, 500).trimEnd() : 'unreadable';
    throw invalid('recipe', `not ${format === 'json' ? 'JSON' : 'YAML'}: ${reason}`, cause);
  }
  checkPlainJson(value);
  if (!isJsonObject(value)) throw notAnObject();
  return value;
}

/**
 * The canonical form of a recipe that passes the schema: RFC 8785, defaults not filled in.
 * @returns UTF-8 bytes, what is hashed, signed and sent
 * @throws {RecipeError} RECIPE_INVALID, RECIPE_TOO_LARGE, RECIPE_UNKNOWN_TASK, RECIPE_UNKNOWN_REWARD
 */
export function canonicalRecipe(source: RecipeSource): Uint8Array {
  checkPlainJson(source);
  check(source);
  const text = canonicalize(source);
  if (text === undefined) throw invalid('recipe', 'has no JSON form');
  const bytes = utf8(text);
  checkSize(bytes.length);
  return bytes;
}

/**
 * A recipe from its canonical bytes, defaults filled in.
 * @throws {RecipeError} RECIPE_TOO_LARGE, RECIPE_INVALID (not canonical, too), RECIPE_UNKNOWN_TASK, RECIPE_UNKNOWN_REWARD
 */
export function parseRecipe(bytes: Uint8Array): Recipe {
  checkSize(bytes.length);
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid('recipe', 'not UTF-8 JSON', cause);
  }
  checkPlainJson(value);
  if (canonicalize(value) !== text) {
    throw invalid('recipe', 'not in canonical form (RFC 8785); send what canonicalRecipe gives');
  }
  return { ...check(value), recipeIdHex: toHex(recipeIdOf(bytes)) };
}

/** H(canonical bytes): 32 bytes. Does not check them. */
export function recipeIdOf(bytes: Uint8Array): Uint8Array {
  return sha256(bytes);
}

/** JSON Schema (draft 2020-12) of what an author writes; committed as recipes/recipe.schema.json. */
export function recipeJsonSchema(): object {
  return z.toJSONSchema(recipeSchema, { io: 'input', target: 'draft-2020-12' });
}

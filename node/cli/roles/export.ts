// Runs `murmur export`: finds the policy, reads it whole, checks its root, writes the folder.

import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { modelCard } from '../../model/export/card.ts';
import { writeHfFiles } from '../../model/export/hf.ts';
import { type ExportProgress, writeOnnxFiles } from '../../model/export/onnx.ts';
import { type ExportSource, readExportSource, readKeptFiles } from '../../model/export/source.ts';
import { checkFolderPlace, writeFolderWhole } from '../../model/export/whole-folder.ts';
import { policyRoot } from '../../model/policy-root.ts';
import { WEIGHTS_FILE } from '../../model/weight-files.ts';
import { parameterCount } from '../../model/weights.ts';
import { toHex, utf8 } from '../../protocol/bytes.ts';
import { errnoOf } from '../../protocol/disk.ts';
import { SwarmError } from '../../protocol/errors.ts';
import { diskError } from '../../store/fs-error.ts';
import type { ExportOptions } from '../commands/export.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { KeptPolicy } from '../kept-policy.ts';
import { modelFolder } from '../model-folder.ts';
import { findNamedPolicy, type NamedPolicy } from '../named-policy.ts';
import { showProgress } from '../progress.ts';

export async function runExport(policy: string | undefined, options: ExportOptions): Promise<number> {
  const out = resolve(options.out);
  // Told before anything large is read.
  await checkFolderPlace(out, options.force);
  const subject = await findNamedPolicy(policy, options);
  const source = await sourceOf(subject, options.base);
  const root = toHex(policyRoot(source.weights));
  if ('policyRoot' in subject && subject.policyRoot !== root) {
    throw new SwarmError(
      'ROOT_MISMATCH',
      `${subject.folder} holds policy ${root.slice(0, 12)}, not ${subject.policyRoot.slice(0, 12)}; delete that folder, the node fetches it again`,
      { folder: subject.folder },
    );
  }
  const whole: ExportSource = {
    ...source,
    files: new Map([...source.files, ['README.md', utf8(cardOf(subject, options.to, root, source))]]),
  };
  const progress = showProgress(`writing ${out}`);
  await writeFolderWhole(out, options.force, (dir) => write(options.to, dir, whole, progress)).catch(
    (error: unknown) => {
      throw errnoOf(error) === null ? error : diskError(error, `write ${out}`);
    },
  );
  const told = {
    out,
    format: options.to,
    policyRoot: root,
    policyStep: 'policyStep' in subject ? subject.policyStep : null,
    recipe: 'recipe' in subject ? subject.recipe.recipe.name : null,
    bytes: await weightsBytes(out, options.to),
  };
  process.stdout.write(options.json ? `${JSON.stringify(told)}\n` : describe(told));
  return EXIT_OK;
}

function describe(told: { out: string; policyRoot: string; policyStep: number | null; recipe: string | null }): string {
  const which = told.policyStep === null ? '' : `${told.recipe}, policy step ${told.policyStep}, `;
  return `${which}policy root ${told.policyRoot.slice(0, 12)} is in ${told.out}\n`;
}

function write(to: ExportOptions['to'], dir: string, source: ExportSource, progress: ExportProgress): Promise<void> {
  return to === 'hf' ? writeHfFiles(dir, source, progress) : writeOnnxFiles(dir, source, progress);
}

async function weightsBytes(out: string, to: ExportOptions['to']): Promise<number> {
  return (await stat(join(out, to === 'hf' ? WEIGHTS_FILE : join('onnx', 'model.onnx_data')))).size;
}

/**
 * The policy and its files. A chain of policies carries the tokenizer with its chat template, but no generation config:
 * that is the base's, or says how the recipe samples.
 */
async function sourceOf(subject: NamedPolicy, base: string | undefined): Promise<ExportSource> {
  const source = await readExportSource(subject.folder);
  const files = new Map(source.files);
  if (base !== undefined) {
    const generation = (await readKeptFiles(await modelFolder(base))).get('generation_config.json');
    if (generation !== undefined) files.set('generation_config.json', generation);
  }
  if ('recipe' in subject && !files.has('generation_config.json')) {
    files.set('generation_config.json', utf8(generationConfig(subject, source)));
  }
  return { ...source, files };
}

/** How the recipe samples, in the words of generation_config.json. */
function generationConfig({ recipe }: KeptPolicy, { configJson }: ExportSource): string {
  const { temperature, topK, topP, maxNewTokens, endTokens } = recipe.recipe.sampling;
  const config = JSON.parse(configJson) as Record<string, unknown>;
  const ids = ['bos_token_id', 'pad_token_id'].flatMap((name) => (config[name] == null ? [] : [[name, config[name]]]));
  const said = {
    ...Object.fromEntries(ids),
    eos_token_id: endTokens,
    do_sample: true,
    temperature,
    top_k: topK,
    top_p: topP,
    max_new_tokens: maxNewTokens,
  };
  return `${JSON.stringify(said, null, 2)}\n`;
}

function cardOf(subject: NamedPolicy, format: ExportOptions['to'], root: string, { weights }: ExportSource): string {
  const facts = { format, policyRoot: root, parameters: parameterCount(weights) };
  if (!('recipe' in subject)) return modelCard(facts);
  const { recipe, recipeIdHex } = subject.recipe;
  return modelCard({
    ...facts,
    training: {
      recipeName: recipe.name,
      recipeId: recipeIdHex,
      description: recipe.description,
      policyStep: subject.policyStep,
      initialPolicyRoot: recipe.model.initialPolicyRoot,
    },
    ...(recipe.model.hubId === undefined ? {} : { base: recipe.model.hubId }),
  });
}

// `murmur export`: a policy as a folder that other programs load.

import { Command, Option } from 'commander';
import { withDataDir, withJson } from '../options.ts';

export interface ExportOptions {
  readonly dataDir: string;
  readonly json: boolean;
  readonly to: 'hf' | 'onnx';
  readonly out: string;
  readonly recipe?: string;
  readonly base?: string;
  readonly force: boolean;
}

export function exportCommand(): Command {
  return withJson(withDataDir(new Command('export')))
    .description('write a policy as a model folder for Hugging Face transformers, or for transformers.js (ONNX)')
    .argument(
      '[policy]',
      'a policy step or root (or its beginning) of the data directory, or a model folder or hub id (default: the newest step)',
    )
    .addOption(
      new Option('--to <format>', 'hf: safetensors in bf16; onnx: a float32 graph for transformers.js')
        .choices(['hf', 'onnx'])
        .makeOptionMandatory(),
    )
    .requiredOption('--out <dir>', 'the folder to write')
    .option('--recipe <id|name>', "whose policies (default: the data directory's newest recipe)")
    .option(
      '--base <dir|hub id>',
      'the model that training started from: its generation_config.json is kept (default: one that says how the recipe samples)',
    )
    .option('--force', 'replace a model folder that is there', false)
    .addHelpText(
      'after',
      `
A node may run on the data directory meanwhile. The folder appears whole or not
at all.

Examples:
  murmur export --to hf --out ./arrows-model --data-dir ~/swarm/trainer
  murmur export 35 --to onnx --out ./arrows-onnx --data-dir ~/swarm/trainer
  murmur export 9f2c41 --to hf --out ./best --data-dir ~/swarm/trainer
  murmur export ./arrows-model --to onnx --out ./arrows-onnx
  murmur demo --model ./arrows-model             and go on from there`,
    )
    .action(async (policy: string | undefined, options: ExportOptions) => {
      const { runExport } = await import('../roles/export.ts');
      process.exitCode = await runExport(policy, options);
    });
}

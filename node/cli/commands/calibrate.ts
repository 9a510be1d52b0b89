// `murmur calibrate`: a recipe's limits from honest runs, and how much of each lie they catch.

import { Command, InvalidArgumentError, Option } from 'commander';
import { LIES } from '../../../verifier/calibration/lies/lies.ts';
import { MODEL_HELP } from '../model-help.ts';
import { parseBytes, parsePositive, withJson } from '../options.ts';

export interface CalibrateOptions {
  readonly recipe: string;
  readonly model?: string;
  readonly previous?: string;
  readonly groups: number;
  readonly lieGroups: number;
  readonly lies: readonly string[];
  readonly threads?: readonly number[];
  readonly memory: number;
  readonly out: string;
  readonly json: boolean;
}

const LIE_NAMES: readonly string[] = LIES.map(({ name }) => name);

function parseLies(text: string): readonly string[] {
  const names = text === '' ? [] : text.split(',');
  const unknown = names.find((name) => !LIE_NAMES.includes(name));
  if (unknown === undefined) return names;
  throw new InvalidArgumentError(`no lie ${unknown}; there are ${LIE_NAMES.join(', ')}`);
}

/** Names with commas, in lines of the width of a help text. */
function linesOf(names: readonly string[]): string {
  return names.join(', ').replace(/(?=.{79})(.{1,76},) /g, '$1\n  ');
}

function parseThreads(text: string): readonly number[] {
  return text.split(',').map(parsePositive);
}

export function calibrateCommand(): Command {
  return withJson(new Command('calibrate'))
    .description("a recipe's verification limits from honest runs on this machine, and what they catch of each lie")
    .option('--recipe <file|name>', 'whose tasks, sampling and limits', 'arrows')
    .option('--model <dir|hub id>', 'the policy to calibrate on (default: what the recipe starts from)')
    .option('--previous <dir>', 'the policy one step before (default: one is made, by a step of random signs)')
    .option(
      '--groups <n>',
      'honest groups to hold against the limits; a fifth more to find them',
      parsePositive,
      10_000,
    )
    .option('--lie-groups <n>', 'groups of each lie', parsePositive, 3_000)
    .addOption(new Option('--lies <a,b,…>', "which lies; '' for none").argParser(parseLies).default(LIE_NAMES, 'all'))
    .option('--threads <a,b,…>', 'thread counts to compare (default: 1, 2 and all processors)', parseThreads)
    .addOption(
      new Option('--memory <size>', 'most memory of each engine (one for each thread count)')
        .argParser(parseBytes)
        .default(1e9, '1GB'),
    )
    .option('--out <dir>', 'where recipe.yaml and calibration.md, .json and .svg go', './calibration')
    .addHelpText(
      'after',
      `
Lies:
  ${linesOf(LIE_NAMES)}

${MODEL_HELP}

Stopped by Ctrl-C it keeps what it has counted in unfinished.json in the --out
folder: the same command goes on from there.

Examples:
  murmur calibrate                                   what the demo trains
  murmur calibrate --groups 500 --lies int8,warmer   a quick look
  murmur calibrate --recipe my.yaml --model ./my-model --previous ./step-41`,
    )
    .action(async (options: CalibrateOptions) => {
      const { runCalibrate } = await import('../roles/calibrate.ts');
      process.exitCode = await runCalibrate(options);
    });
}

// The inspecting commands: recipes, status, peers, rollouts, verdicts, weights.
// Each asks the node that runs on the data directory, or looks as an observer (`--join`), or reads what a stopped node left.

import { Command } from 'commander';
import type { InspectMethod } from '../inspector.ts';
import { parsePositive, withDataDir, withJoin, withJson } from '../options.ts';

export interface InspectOptions {
  readonly dataDir: string;
  readonly network: string;
  readonly join: readonly string[];
  readonly json: boolean;
  readonly loopback: boolean;
  readonly recipe?: string;
  readonly limit: number;
}

function inspectCommand(name: InspectMethod, description: string, examples: string, note = ''): Command {
  return withJson(withJoin(withDataDir(new Command(name))))
    .description(description)
    .option('--loopback', 'with --join: a swarm on this machine only', false)
    .option('--recipe <id|name>', 'this recipe only; the beginning of an id is enough')
    .option('--limit <n>', 'most rows to show', parsePositive, 20)
    .addHelpText(
      'after',
      `
Asks the node running on the data directory; without one reads what it left;
with --join looks as an observer.
${note}
Examples:
${examples}`,
    );
}

async function inspect(
  method: InspectMethod,
  params: Readonly<Record<string, unknown>>,
  options: InspectOptions,
): Promise<void> {
  const { runInspect } = await import('../roles/inspect.ts');
  process.exitCode = await runInspect(method, params, options);
}

const PEERS_NOTE = `
A peer on probation has every group replayed whole, later a share that falls
with trust. Columns:
  whole, tokens  groups replayed whole, completion tokens replayed
  soft           tokens that needed the tolerance
  leftOut        share of the slots that others fill which this peer leaves out:
                 slow machines do, and so do peers that stop after an unlucky
                 group
`;

export function inspectCommands(): Command[] {
  const plain = (name: InspectMethod, description: string, examples: string, note?: string): Command =>
    inspectCommand(name, description, examples, note).action((options: InspectOptions) =>
      inspect(name, { recipe: options.recipe, limit: options.limit }, options),
    );
  return [
    plain(
      'recipes',
      "the recipes known here, open or closed, and the trainers' offers",
      '  murmur recipes\n  murmur recipes --json',
    ),
    plain(
      'status',
      'what this node is doing',
      '  murmur status\n  murmur status --data-dir ~/.murmur/demo-20261122T1800',
    ),
    plain(
      'peers',
      'the peers known here, their standing and what they did',
      '  murmur peers\n  murmur peers --json',
      PEERS_NOTE,
    ),
    inspectCommand(
      'rollouts',
      'rollout groups seen here; with an id, one group in full',
      '  murmur rollouts\n  murmur rollouts 3f9a2c',
    )
      .argument('[groupId]', 'a group id or its beginning: show prompt, completions, rewards and verdict')
      .action((groupId: string | undefined, options: InspectOptions) =>
        groupId === undefined
          ? inspect('rollouts', { recipe: options.recipe, limit: options.limit }, options)
          : inspect('rollout', { groupId }, options),
      ),
    plain('verdicts', 'verdicts seen here, with their evidence', '  murmur verdicts --limit 50'),
    plain('weights', 'the policies of each recipe: step, root, size, whether they are here', '  murmur weights'),
  ];
}

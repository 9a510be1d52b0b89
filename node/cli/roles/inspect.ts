// Runs an inspecting command: asks the running node, or looks as an observer, or reads what a stopped node left.

import { SwarmError } from '../../protocol/errors.ts';
import { nodeDataDir, withRecords } from '../ask-node.ts';
import type { InspectOptions } from '../commands/inspect.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { InspectMethod, Row } from '../inspector.ts';
import { table, tree } from '../table.ts';

type Params = Readonly<Record<string, unknown>>;

export async function runInspect(method: InspectMethod, params: Params, options: InspectOptions): Promise<number> {
  const result = await ask(method, params, options);
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : render(method, result));
  return EXIT_OK;
}

async function ask(method: InspectMethod, params: Params, options: InspectOptions): Promise<unknown> {
  if (options.join.length > 0) {
    const { withObserver } = await import('../observer.ts');
    return withObserver(options, async (handlers) => handlers[method](params));
  }
  return withRecords(nodeDataDir(options.dataDir), (askNode) => askNode(method, params));
}

/** What fits a terminal of a peer's row; --json has all of it. */
export function peerLine(row: Row): Row {
  const address = typeof row['address'] === 'string' ? row['address'].replace(/\/p2p\/.*$/, '') : null;
  return {
    peer: row['peer'],
    connected: row['connected'],
    latencyMs: row['latencyMs'],
    address,
    standing: standingText(row),
    accepted: row['acceptedGroups'],
    rejected: row['rejectedGroups'],
    lastCode: row['lastCode'],
    whole: row['wholeGroups'],
    tokens: row['checkedTokens'],
    soft: row['softMisses'],
    leftOut: typeof row['slotsLeftOut'] === 'number' ? `${Math.round(100 * row['slotsLeftOut'])} %` : null,
    verdicts: verdictsText(row['asVerifier']),
  };
}

/** `probation 3/8`, `trust 0.90, 10 % whole`, `quarantined to step 20`; null for a peer that no verifier here knows. */
function standingText(row: Row): string | null {
  const { trust, wholeProbability, quarantinedUntilStep, onProbation, probationPassed, probationGroups } = row;
  if (typeof trust !== 'number') return null;
  if (typeof quarantinedUntilStep === 'number') return `quarantined to step ${quarantinedUntilStep}`;
  if (onProbation === true)
    return `probation ${probationPassed}/${probationGroups}${row['secondChance'] === true ? ' again' : ''}`;
  return `trust ${trust.toFixed(2)}, ${Math.round(100 * (wholeProbability as number))} % whole`;
}

/** A verdict, and what those of its verifier were worth so far. */
function verdictLine({ asVerifier, ...row }: Row): Row {
  return { ...row, verifier: verdictsText(asVerifier) };
}

/** What a peer's own verdicts were worth here, in short. */
function verdictsText(asVerifier: unknown): string | null {
  if (typeof asVerifier !== 'object' || asVerifier === null) return null;
  const { confirmed, contradicted, standing, silencedUntilStep } = asVerifier as Readonly<
    Record<string, number | null>
  >;
  const word =
    silencedUntilStep === null ? `standing ${(standing ?? 0).toFixed(2)}` : `silenced to step ${silencedUntilStep}`;
  return `${confirmed} confirmed, ${contradicted} false, ${word}`;
}

function render(method: InspectMethod, result: unknown): string {
  switch (method) {
    case 'status':
    case 'rollout':
      return tree(result as Row);
    case 'peers':
      return table(
        (result as Row[]).map(peerLine),
        'no peers: none is connected (or the node that this data directory belongs to has stopped)',
      );
    case 'recipes': {
      const { recipes, offers } = result as { recipes: Row[]; offers: Row[] };
      return `${table(recipes, 'no recipes known yet')}\ntrainers that offer\n${table(offers, 'none heard of')}`;
    }
    case 'rollouts':
      return table(result as Row[], 'no rollouts seen yet');
    case 'verdicts':
      return table((result as Row[]).map(verdictLine), 'no verdicts seen yet');
    case 'weights':
      return table(result as Row[], 'no policies published yet');
    default:
      throw new SwarmError('INTERNAL', `nothing shows ${String(method)}`);
  }
}

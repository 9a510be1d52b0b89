// Whose acceptance lets a group be trained on: the recipe's rule, applied to what verifiers said and to what they have earned here.
// Source: design.md "Who trusts what"; recipe field verification.acceptance. Pure: standing comes in as a port.
// Invariant: a verifier counts once a group, and not while it is silenced; named ones count under every rule.

import type { PeerIdString } from '../node/protocol/ports.ts';
import type { RecipeAcceptance } from '../recipes/sections.ts';

/** What a verifier has earned with the verifier inside this trainer. */
export interface VerifierWorth {
  /** 0 … 1 */
  readonly standing: number;
  /** a rejection of its did not repeat lately */
  readonly isSilenced: boolean;
}

/** Who signed a verdict. */
export interface Signer {
  readonly peer: PeerIdString;
  /** public key, hex */
  readonly key: string;
}

export interface AcceptanceRule {
  /** `full`: its rejections and silences count too; `acceptance`: only its acceptances may; `none` */
  weightOf(signer: Signer): 'full' | 'acceptance' | 'none';
  /** @param accepting those who accepted the group, each once */
  isMet(accepting: Iterable<Signer>): boolean;
  /** no verdict but those of named verifiers is waited for */
  readonly isNamedOnly: boolean;
}

/**
 * @param rule the recipe's
 * @param named hex keys that the recipe names, and the trainer's own when it runs a verifier
 * @param worthOf of a verifier, now; without it nobody but the named has earned anything
 */
export function createAcceptanceRule(
  rule: RecipeAcceptance,
  named: readonly string[],
  worthOf: (verifier: PeerIdString) => VerifierWorth = () => ({ standing: 0, isSilenced: false }),
): AcceptanceRule {
  const names = new Set(named);
  const isNamedOnly = rule.rule === 'own';
  const needed = rule.rule === 'quorum' ? rule.quorum : 1;
  const counts = ({ peer, key }: Signer): boolean => {
    const { standing, isSilenced } = worthOf(peer);
    return !isSilenced && (names.has(key) || (!isNamedOnly && standing >= rule.minStanding));
  };
  return {
    isNamedOnly,
    weightOf({ peer, key }) {
      const { standing, isSilenced } = worthOf(peer);
      if (isSilenced) return 'none';
      if (names.has(key)) return 'full';
      // Who has earned something may have enough by the time that others agree.
      return !isNamedOnly && standing > 0 ? 'acceptance' : 'none';
    },
    isMet: (accepting) => [...accepting].filter(counts).length >= needed,
  };
}

// A policy chain that a test moves by hand.

import type { ChainPolicy, PolicyChain, PolicyFiles } from '../../node/protocol/ports.ts';
import { madeUpHex } from './recipe-sources.ts';

export interface FixedChain extends PolicyChain {
  /** publishes the next (or the same, changed) step */
  set(policyStep: number, change?: Partial<ChainPolicy>): ChainPolicy;
}

/** Root of a made-up policy. */
export const rootAt = (policyStep: number): string => madeUpHex(`policy ${policyStep}`);

/** @param configJson text of a config.json, the same for every policy */
export function fixedChain(configJson: string): FixedChain {
  const steps = new Map<number, ChainPolicy>();
  const listeners = new Set<(policy: ChainPolicy) => void>();
  const newest = (): ChainPolicy | null => steps.get(Math.max(...steps.keys())) ?? null;
  return {
    announced: newest,
    ready: newest,
    at: (policyStep) => steps.get(policyStep) ?? null,
    files: async (policyRoot): Promise<PolicyFiles> => ({ policyRoot, configJson, weightsFile: '/nowhere' }),
    onReady(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    set(policyStep, change = {}) {
      const policy: ChainPolicy = {
        policyStep,
        policyRoot: rootAt(policyStep),
        manifestId: madeUpHex(`manifest ${policyStep}`),
        wantGroups: 6,
        activePeers: 1,
        closing: false,
        ...change,
      };
      steps.set(policyStep, policy);
      for (const listener of listeners) listener(policy);
      return policy;
    },
  };
}

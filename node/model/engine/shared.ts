// One engine, several users (verifiers of several recipes, a trainer's replay, its evaluations): each unloads for itself.
// Invariant: a policy leaves the engine when none of those that loaded it wants it any more; two recipes that start from the
// same weights have the same root.

import type { PolicyEngine } from '../../protocol/ports.ts';

export interface SharedEngine {
  /** An engine of one's own to load and unload; closing it lets go of its policies and leaves the shared one open. */
  user(): PolicyEngine;
}

/** @param engine whose owner closes it, after its users */
export function shareEngine(engine: PolicyEngine): SharedEngine {
  const users = new Set<ReadonlySet<string>>();
  const isWanted = (policyRoot: string): boolean => [...users].some((wanted) => wanted.has(policyRoot));
  return {
    user() {
      const wanted = new Set<string>();
      users.add(wanted);
      const unload = async (policyRoot: string): Promise<void> => {
        if (wanted.delete(policyRoot) && !isWanted(policyRoot)) await engine.unload(policyRoot);
      };
      return {
        load(policy, options) {
          // Wanted before it is here, so that nobody else's unload overtakes it.
          wanted.add(policy.policyRoot);
          return engine.load(policy, options);
        },
        unload,
        generate: engine.generate,
        replay: engine.replay,
        async close() {
          for (const policyRoot of [...wanted]) await unload(policyRoot);
          users.delete(wanted);
        },
      };
    },
  };
}

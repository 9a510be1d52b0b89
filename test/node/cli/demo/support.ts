// Events of a demo's processes, with what a test does not care about filled in.

import type { RoleEvent } from '../../../../node/cli/events.ts';

type EventOf<E extends RoleEvent['event']> = Extract<RoleEvent, { event: E }>;

export function listening(peerId: string): EventOf<'listening'> {
  return { event: 'listening', peerId, network: 'demo', addresses: [], dataDir: '/nowhere' };
}

export function evaluation(policyStep: number, accuracy: number, tokens: number = 6): EventOf<'evaluation'> {
  return { event: 'evaluation', policyStep, accuracy, tasks: 512, completionTokensMean: tokens };
}

export function rollouts(groups: number, tokensPerSecond: number): EventOf<'rollouts'> {
  return { event: 'rollouts', policyStep: 1, groups, tokens: 100, tokensPerSecond };
}

export function sample(completion: string): EventOf<'sample'> {
  return { event: 'sample', policyStep: 1, groupId: 'ab'.repeat(32), prompt: 'ad,da:a3=', completion, reward: 1 };
}

export function step(policyStep: number, replaced: Partial<EventOf<'step'>> = {}): EventOf<'step'> {
  const counts = {
    announced: 20,
    trained: 16,
    rejected: 1,
    stale: 1,
    dropped: 0,
    pending: 2,
    reasons: {},
    ignored: {},
  };
  return {
    event: 'step',
    policyStep,
    ...{ rewardMean: 0.5, completionTokensMean: 6, lagMean: 0.5, lagMax: 1, loss: 0.01, entropy: 0.4 },
    ...{ gradientNorm: 0.3, essShare: 0.9, meanLog2w: 0, klEstimate: 0, clippedShare: 0, maskedShare: 0 },
    ...{ learningRate: 3e-5, sequences: 128, tokens: 1_000, seconds: 1.5, phases: {}, counts },
    ...replaced,
  };
}

export function rejected(peerId: string, code: string): EventOf<'rejected'> {
  const groupId = 'cd'.repeat(32);
  return { event: 'rejected', peerId, groupId, slot: 0, policyStep: 1, code, why: 'numbers', judgedOfPeer: 1 };
}

export function quarantined(peerId: string, judgedOfPeer: number): EventOf<'quarantined'> {
  return { event: 'quarantined', peerId, untilStep: 15, judgedOfPeer };
}

// A training step as an event, and the ledger's counts in the form that the CLI shows.

import type { LedgerCounts } from '../../trainer/ledger.ts';
import type { StepMetrics } from '../../trainer/metrics.ts';
import type { Provision } from '../../trainer/provisioning.ts';
import type { EmitEvent, GroupCounts } from './events.ts';

export function toGroupCounts(counts: LedgerCounts, ignored: Readonly<Record<string, number>>): GroupCounts {
  const { announced, trained, rejected, stale, dropped, pending } = counts;
  return { announced, trained, rejected, stale, dropped, pending, reasons: counts.reasons, ignored };
}

export function tellStep(emit: EmitEvent, metrics: StepMetrics, ignored: Readonly<Record<string, number>>): void {
  const { seconds } = metrics;
  emit({
    event: 'step',
    policyStep: metrics.policyStep,
    rewardMean: metrics.rewardMean,
    completionTokensMean: metrics.completionTokensMean,
    lagMean: metrics.lagMean,
    lagMax: metrics.lagMax,
    loss: metrics.loss,
    entropy: metrics.entropy,
    gradientNorm: metrics.gradientNorm,
    essShare: metrics.essShare,
    meanLog2w: metrics.meanLog2w,
    klEstimate: metrics.klEstimate,
    clippedShare: metrics.clippedLowShare + metrics.clippedHighShare,
    maskedShare: metrics.maskedShare,
    learningRate: metrics.learningRate,
    sequences: metrics.sequences,
    tokens: metrics.tokens,
    seconds: seconds.waiting + seconds.replaying + seconds.updating + seconds.checkpointing + seconds.publishing,
    phases: { ...seconds },
    counts: toGroupCounts(metrics.counts, ignored),
  });
}

/** The provisioning check of a run, once its first steps have shown it. */
export function describeProvision({ brought, wanted, isEnough, staleShare, isFresh }: Provision): string {
  const rate = `nodes bring ${brought.toFixed(1)} useful groups/s, training could take ${wanted.toFixed(1)}`;
  const enough = isEnough ? 'enough' : 'more nodes would make it faster';
  const late = `; ${Math.round(100 * staleShare)} % of groups come too late: raise maxLagSteps or publishEvery`;
  return `provisioning: ${rate} (${enough}${isFresh ? '' : late})`;
}

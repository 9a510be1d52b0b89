// What a long-running role says while it runs: one typed event a line, as JSON (`--json`) or as a sentence.
// The demo reads the JSON form of its child processes; nothing else passes between them but the network.

/** Final states of groups as the trainer's ledger counts them; announced = the sum of the others but `ignored`. */
export interface GroupCounts {
  readonly announced: number;
  readonly trained: number;
  readonly rejected: number;
  readonly stale: number;
  readonly dropped: number;
  readonly pending: number;
  /** `dropped.zeroAdvantage`, `rejected.REPLAY_MISMATCH`, … to counts */
  readonly reasons: Readonly<Record<string, number>>;
  /** what stage 0 dropped, by code; not part of announced */
  readonly ignored: Readonly<Record<string, number>>;
}

export type RoleEvent =
  | {
      readonly event: 'listening';
      readonly peerId: string;
      readonly network: string;
      readonly addresses: readonly string[];
      readonly dataDir: string;
    }
  | { readonly event: 'notice'; readonly text: string }
  | {
      readonly event: 'recipe';
      readonly recipeId: string;
      readonly name: string;
      readonly state: 'open' | 'closed' | 'working';
    }
  | { readonly event: 'policy'; readonly recipeId: string; readonly policyStep: number; readonly policyRoot: string }
  | {
      readonly event: 'rollouts';
      readonly policyStep: number;
      readonly groups: number;
      readonly tokens: number;
      readonly tokensPerSecond: number;
    }
  | {
      readonly event: 'sample';
      readonly policyStep: number;
      readonly groupId: string;
      readonly prompt: string;
      readonly completion: string;
      readonly reward: number;
    }
  | {
      readonly event: 'step';
      readonly policyStep: number;
      readonly rewardMean: number;
      readonly completionTokensMean: number;
      readonly lagMean: number;
      readonly lagMax: number;
      readonly loss: number;
      readonly entropy: number;
      readonly gradientNorm: number;
      readonly essShare: number;
      readonly meanLog2w: number;
      readonly klEstimate: number;
      readonly clippedShare: number;
      readonly maskedShare: number;
      readonly learningRate: number;
      readonly sequences: number;
      /** completion tokens trained on */
      readonly tokens: number;
      readonly seconds: number;
      /** seconds of each phase: waiting, replaying, updating, checkpointing, publishing; they add up to `seconds` */
      readonly phases: Readonly<Record<string, number>>;
      readonly counts: GroupCounts;
    }
  | {
      readonly event: 'evaluation';
      readonly policyStep: number;
      readonly accuracy: number;
      readonly tasks: number;
      readonly completionTokensMean: number;
    }
  | {
      readonly event: 'verdicts';
      readonly accepted: number;
      readonly rejected: number;
      readonly ignored: number;
      /** part of ignored: work came faster than it was checked */
      readonly notChecked: number;
      readonly waiting: number;
      readonly tokensPerSecond: number;
    }
  | {
      readonly event: 'rejected';
      readonly peerId: string;
      readonly groupId: string;
      readonly slot: number;
      readonly policyStep: number;
      readonly code: string;
      readonly why: string;
      /** groups of this peer judged so far, this one included */
      readonly judgedOfPeer: number;
    }
  | {
      readonly event: 'quarantined';
      readonly peerId: string;
      readonly untilStep: number;
      readonly judgedOfPeer: number;
    }
  | { readonly event: 'summary'; readonly counts: GroupCounts }
  | { readonly event: 'stopped' };

export type EmitEvent = (event: RoleEvent) => void;

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** An event as a sentence for people. */
export function describeEvent(e: RoleEvent): string {
  switch (e.event) {
    case 'listening':
      return `${e.peerId} is on network "${e.network}"\n${e.addresses.map((a) => `  ${a}`).join('\n')}`;
    case 'notice':
      return e.text;
    case 'recipe':
      return `recipe ${e.name} (${e.recipeId.slice(0, 12)}) is ${e.state === 'working' ? 'being worked on' : e.state}`;
    case 'policy':
      return `policy step ${e.policyStep} is here (${e.policyRoot.slice(0, 12)})`;
    case 'rollouts':
      return `step ${e.policyStep}: ${e.groups} groups made, ${Math.round(e.tokensPerSecond)} tokens/s`;
    case 'sample':
      return `  ${e.prompt}${e.completion}   reward ${e.reward}`;
    case 'step':
      return `step ${e.policyStep}: reward ${e.rewardMean.toFixed(3)}, ${e.completionTokensMean.toFixed(1)} tokens, lag ${e.lagMean.toFixed(1)}, loss ${e.loss.toFixed(4)}, entropy ${e.entropy.toFixed(3)}, gradient norm ${e.gradientNorm.toFixed(2)}, ${e.seconds.toFixed(1)} s`;
    case 'evaluation':
      return `step ${e.policyStep}: held-out accuracy ${percent(e.accuracy)} of ${e.tasks} tasks, ${e.completionTokensMean.toFixed(1)} tokens`;
    case 'verdicts':
      return `verdicts: ${e.accepted} accepted, ${e.rejected} rejected, ${e.ignored} ignored (${e.notChecked} not checked), ${e.waiting} waiting`;
    case 'rejected':
      return `rejected group ${e.groupId.slice(0, 12)} of ${shortPeer(e.peerId)}: ${e.code}, ${e.why}`;
    case 'quarantined':
      return `${shortPeer(e.peerId)} is quarantined until step ${e.untilStep} (after ${e.judgedOfPeer} judged groups)`;
    case 'summary':
      return `groups: ${e.counts.announced} announced = ${e.counts.trained} trained + ${e.counts.rejected} rejected + ${e.counts.stale} stale + ${e.counts.dropped} dropped + ${e.counts.pending} pending`;
    case 'stopped':
      return 'stopped';
  }
}

/** Last characters of a peer id: the first ones are alike for everybody. */
export function shortPeer(peerId: string): string {
  return `…${peerId.slice(-8)}`;
}

/** Prints events to `out`: JSON lines, or sentences. */
export function createReporter(json: boolean, out: NodeJS.WritableStream): EmitEvent {
  return (event) => {
    out.write(`${json ? JSON.stringify(event) : describeEvent(event)}\n`);
  };
}

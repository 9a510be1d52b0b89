// The checker's other end.

import { serveThread } from '../node/model/engine/thread-calls.ts';
import { judgeReplays } from './checks/stage-two.ts';

export interface CheckerFunctions {
  readonly check: typeof judgeReplays;
}

serveThread<CheckerFunctions>('checker', { check: judgeReplays });

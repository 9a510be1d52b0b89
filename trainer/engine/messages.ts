// What passes between the engine's two ends.

import type { ErrorCode, ErrorDetail } from '../../node/protocol/errors.ts';
import type { TrainingEngine } from './engine.ts';

export interface CallMessage {
  readonly id: number;
  readonly method: keyof TrainingEngine | 'open';
  readonly args: readonly unknown[];
}

export interface ReplyMessage {
  readonly id: number;
  readonly result?: unknown;
  readonly failure?: { readonly code: ErrorCode; readonly message: string; readonly detail: ErrorDetail };
}

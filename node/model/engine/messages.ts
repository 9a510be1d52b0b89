// What the engine and its worker thread say to each other. Buffers travel by transfer; errors keep their code.

import { type ErrorCode, type ErrorDetail, errorText, SwarmError } from '../../protocol/errors.ts';
import type {
  DrawnToken,
  GeneratedSequence,
  GenerateRequest,
  PolicyFiles,
  ReplayedSequence,
  ReplayRequest,
  SamplingSettings,
} from '../../protocol/ports.ts';
import type { Placement } from '../device.ts';

/** Gaussian noise added to every weight after loading: what a liar of the demo does. `scale` is relative to the tensor's own spread. */
export interface AlterWeights {
  readonly seed: number;
  readonly scale: number;
}

export interface EngineLimits extends Placement {
  /** bytes for weights, cache and activations together */
  readonly memoryBytes: number;
}

/** One thing asked of the worker. */
export type EngineRequest =
  | { readonly kind: 'load'; readonly policy: PolicyFiles; readonly alterWeights: AlterWeights | null }
  | { readonly kind: 'unload'; readonly policyRoot: string }
  | {
      readonly kind: 'generate';
      readonly policyRoot: string;
      readonly sampling: SamplingSettings;
      readonly groups: readonly GenerateRequest[];
      /** whether to tell each token as it is drawn */
      readonly tellTokens: boolean;
    }
  | {
      readonly kind: 'replay';
      readonly policyRoot: string;
      readonly sampling: SamplingSettings;
      readonly sequences: readonly ReplayRequest[];
    };

/** What each request is answered with. */
export interface EngineAnswers {
  readonly load: { readonly parameters: number };
  readonly unload: null;
  readonly generate: readonly (readonly GeneratedSequence[])[];
  readonly replay: readonly ReplayedSequence[];
}

export type ToWorker =
  | { readonly id: number; readonly request: EngineRequest }
  | { readonly abort: number }
  | { readonly close: true };

export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly detail: ErrorDetail;
}

export type FromWorker =
  | { readonly id: number; readonly drawn: DrawnToken }
  | { readonly id: number; readonly value: EngineAnswers[keyof EngineAnswers] }
  | { readonly id: number; readonly error: WireError };

/** An error as it crosses the thread; what is not ours becomes ENGINE_FAILED. */
export function toWireError(error: unknown, what = 'The model engine'): WireError {
  if (error instanceof SwarmError) return { code: error.code, message: error.message, detail: error.detail };
  return { code: 'ENGINE_FAILED', message: `${what} failed: ${errorText(error)}`, detail: {} };
}

/** The same error on the other side. */
export function fromWireError({ code, message, detail }: WireError): SwarmError {
  return new SwarmError(code, message, detail);
}

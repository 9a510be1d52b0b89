// What goes wrong while a proof is built or read. Source: spec/toploc.md.

import { SwarmError } from '../../node/protocol/errors.ts';

/** Codes: PROOF_MALFORMED (bytes that are no proof), PROOF_NAN (activations that must never be proved). */
export class ProofError extends SwarmError {}

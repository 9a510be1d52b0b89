// Errors of the graph builder and of what stands on it (autodiff, model graphs).

import { type ErrorDetail, SwarmError } from '../../protocol/errors.ts';

/** A graph that cannot be built: names the operator and the shapes or types it was given. */
export class GraphError extends SwarmError {
  constructor(code: 'GRAPH_SHAPE' | 'GRAPH_TYPE' | 'GRAPH_UNKNOWN_TENSOR', message: string, detail: ErrorDetail = {}) {
    super(code, message, detail);
  }
}

// The body of a group: prompt, and each rollout's tokens, log-probs, finish reason and proofs. Named by its hash.
// Source: spec/rollouts.md "A group on the wire"; message Body of messages.proto. Coded by hand between bytes and typed
// arrays (see packed.ts): lists of numbers are counted before they are allocated, which the generated decoder cannot do.
// Invariant: accepts only the packed form that encodeBody writes; values are the checks' matter (a log-prob may be NaN).

import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { plainBytes } from './bytes.ts';
import { checkSize, listLength, malformed, parsing } from './codec.ts';
import {
  BODY_MAX_BYTES,
  MAX_COMPLETION_TOKENS,
  MAX_GROUP_SIZE,
  MAX_GROUP_TOKENS,
  MAX_PROMPT_TOKENS,
  MIN_GROUP_SIZE,
  PROOF_MAX_BYTES,
  PROOF_TOKENS,
  SEQUENCE_PROOFS_MAX_BYTES,
} from './limits.ts';
import {
  MAX_VARINT_BYTES,
  readFloats,
  readVarints,
  varintBytes,
  varintsBytes,
  writeFloats,
  writeVarint,
} from './packed.ts';

export interface BodySequence {
  /** end token included when there is one */
  readonly tokens: Uint32Array;
  /** as many as tokens */
  readonly logprobs: Float32Array;
  readonly finish: 'eos' | 'length';
  /** TOPLOC proofs, plain concatenation */
  readonly proofs: Uint8Array;
}

export interface GroupBody {
  readonly prompt: Uint32Array;
  readonly sequences: readonly BodySequence[];
}

/** Field numbers of messages.proto. */
const BODY_PROMPT = 1;
const BODY_SEQUENCES = 2;
const SEQUENCE_TOKENS = 1;
const SEQUENCE_LOGPROBS = 2;
const SEQUENCE_FINISH = 3;
const SEQUENCE_PROOFS = 4;
const FINISH_CODE: Readonly<Record<BodySequence['finish'], number>> = { eos: 1, length: 2 };

/**
 * The bytes whose hash an announcement names.
 * @throws {SwarmError} MALFORMED, TOO_LARGE
 */
export function encodeBody(body: GroupBody): Uint8Array {
  checkBody(body);
  const promptBytes = varintsBytes(body.prompt);
  const sizes = body.sequences.map(sequenceSize);
  let size = fieldSize(promptBytes);
  for (const each of sizes) size += fieldSize(each.bytes);
  const out = new Uint8Array(size);
  checkSize('body', out, BODY_MAX_BYTES);
  let at = writeHead(out, 0, BODY_PROMPT, promptBytes);
  for (const token of body.prompt) at = writeVarint(out, at, token);
  for (const [i, sequence] of body.sequences.entries()) {
    at = writeHead(out, at, BODY_SEQUENCES, sizes[i]!.bytes);
    at = writeSequence(out, at, sequence, sizes[i]!.tokenBytes);
  }
  return out;
}

/** The most that the body of completions of these lengths can take, each number in its longest encoding, the prompt of any length. */
export function maxBodyBytes(lengths: readonly number[]): number {
  const sequences = lengths.map((tokens) => {
    const proofs = PROOF_MAX_BYTES * Math.ceil(tokens / PROOF_TOKENS);
    return fieldSize(fieldSize(MAX_VARINT_BYTES * tokens) + fieldSize(4 * tokens) + 2 + fieldSize(proofs));
  });
  const prompt = fieldSize(MAX_VARINT_BYTES * MAX_PROMPT_TOKENS);
  return Math.min(
    BODY_MAX_BYTES,
    sequences.reduce((sum, bytes) => sum + bytes, prompt),
  );
}

/** Tag (one byte for fields under 16), length, content. */
function fieldSize(bytes: number): number {
  return 1 + varintBytes(bytes) + bytes;
}

function sequenceSize(sequence: BodySequence): { readonly bytes: number; readonly tokenBytes: number } {
  const tokenBytes = varintsBytes(sequence.tokens);
  const { logprobs, proofs } = sequence;
  const proofField = proofs.length === 0 ? 0 : fieldSize(proofs.length);
  return { tokenBytes, bytes: fieldSize(tokenBytes) + fieldSize(logprobs.length * 4) + 2 + proofField };
}

function writeHead(out: Uint8Array, offset: number, number: number, bytes: number): number {
  out[offset] = (number << 3) | WireType.LengthDelimited;
  return writeVarint(out, offset + 1, bytes);
}

function writeSequence(out: Uint8Array, offset: number, sequence: BodySequence, tokenBytes: number): number {
  const { tokens, logprobs, finish, proofs } = sequence;
  let at = writeHead(out, offset, SEQUENCE_TOKENS, tokenBytes);
  for (let i = 0; i < tokens.length; i++) at = writeVarint(out, at, tokens[i]!);
  at = writeFloats(out, writeHead(out, at, SEQUENCE_LOGPROBS, logprobs.length * 4), logprobs);
  out[at++] = (SEQUENCE_FINISH << 3) | WireType.Varint;
  out[at++] = FINISH_CODE[finish];
  if (proofs.length === 0) return at;
  at = writeHead(out, at, SEQUENCE_PROOFS, proofs.length);
  out.set(proofs, at);
  return at + proofs.length;
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function decodeBody(bytes: Uint8Array): GroupBody {
  checkSize('body', bytes, BODY_MAX_BYTES);
  const body = parsing('body', () => readBody(plainBytes(bytes)));
  checkBody(body);
  return body;
}

function checkBody(body: GroupBody): void {
  listLength('prompt', body.prompt, 1, MAX_PROMPT_TOKENS);
  listLength('sequences', body.sequences, MIN_GROUP_SIZE, MAX_GROUP_SIZE);
  let tokens = 0;
  for (const sequence of body.sequences) {
    listLength('tokens', sequence.tokens, 1, MAX_COMPLETION_TOKENS);
    listLength('logprobs', sequence.logprobs, sequence.tokens.length, sequence.tokens.length);
    listLength('proofs', sequence.proofs, 0, SEQUENCE_PROOFS_MAX_BYTES);
    tokens += sequence.tokens.length;
  }
  if (tokens > MAX_GROUP_TOKENS) throw malformed('sequences', `at most ${MAX_GROUP_TOKENS} tokens in all`, tokens);
}

function readBody(bytes: Uint8Array): GroupBody {
  let prompt = new Uint32Array(0);
  const sequences: BodySequence[] = [];
  let tokensLeft = MAX_GROUP_TOKENS;
  eachField(bytes, BODY_SEQUENCES, (number, field) => {
    if (number === BODY_PROMPT) prompt = readVarints('prompt', field.bytes(), MAX_PROMPT_TOKENS);
    else if (number === BODY_SEQUENCES) {
      if (sequences.length === MAX_GROUP_SIZE) throw malformed('sequences', `at most ${MAX_GROUP_SIZE} entries`);
      const sequence = readSequence(field.bytes(), Math.min(MAX_COMPLETION_TOKENS, tokensLeft));
      tokensLeft -= sequence.tokens.length;
      sequences.push(sequence);
    } else throw malformed('body', 'fields 1 and 2', number);
  });
  return { prompt, sequences };
}

function readSequence(bytes: Uint8Array, maxTokens: number): BodySequence {
  let tokens = new Uint32Array(0);
  let logprobs = new Float32Array(0);
  let finish = 0;
  let proofs = new Uint8Array(0);
  eachField(bytes, null, (number, field) => {
    if (number === SEQUENCE_TOKENS) tokens = readVarints('tokens', field.bytes(), maxTokens);
    else if (number === SEQUENCE_LOGPROBS) logprobs = readFloats('logprobs', field.bytes(), tokens.length);
    else if (number === SEQUENCE_FINISH) finish = field.uint32();
    else if (number === SEQUENCE_PROOFS) proofs = field.bytes().slice();
    else throw malformed('sequences', 'fields 1 to 4', number);
  });
  if (finish !== FINISH_CODE.eos && finish !== FINISH_CODE.length) throw malformed('finish', '1 | 2', finish);
  return { tokens, logprobs, finish: finish === FINISH_CODE.eos ? 'eos' : 'length', proofs };
}

interface FieldReader {
  bytes(): Uint8Array;
  uint32(): number;
}

/** Calls `visit` for each field, which must read it. @param repeated the one field that may come more than once */
function eachField(
  bytes: Uint8Array,
  repeated: number | null,
  visit: (number: number, field: FieldReader) => void,
): void {
  const reader = new BinaryReader(bytes);
  let last = 0;
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    // Our encoder writes fields in order, and no list in two parts.
    if (number < last || (number === last && number !== repeated)) throw malformed('body', 'fields in order');
    last = number;
    const expect = (type: WireType): void => {
      if (wireType !== type) throw malformed('body', `wire type ${type} in field ${number}`, wireType);
    };
    visit(number, {
      bytes: () => {
        expect(WireType.LengthDelimited);
        return reader.bytes();
      },
      uint32: () => {
        expect(WireType.Varint);
        return reader.uint32();
      },
    });
  }
  if (reader.pos !== reader.len) throw malformed('body', 'a whole message');
}

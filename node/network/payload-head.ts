// The two fields that every payload of a recipe's topics begins with: recipe_id = 1, policy_step = 2 (messages.proto).
// Read without decoding the rest, so that a message on the wrong topic is refused before anybody's check sees it.

import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { toHex } from '../protocol/bytes.ts';
import { MESSAGE_MAX_FIELDS } from '../protocol/limits.ts';

export interface PayloadHead {
  /** null when absent or not 32 bytes */
  readonly recipeIdHex: string | null;
  /** 0 when absent, as proto3 has it */
  readonly policyStep: number;
}

/** Null when the payload is no protobuf message, or has more fields than any of ours. Of a repeated field the last counts, as in every decoder. */
export function readPayloadHead(payload: Uint8Array): PayloadHead | null {
  let recipeIdHex: string | null = null;
  let policyStep = 0;
  try {
    const reader = new BinaryReader(payload);
    for (let fields = 0; reader.pos < reader.len; fields++) {
      if (fields === MESSAGE_MAX_FIELDS) return null;
      const [number, wireType] = reader.tag();
      if (wireType === WireType.LengthDelimited) {
        const length = reader.uint32();
        const end = reader.pos + length;
        if (end > reader.len) return null;
        if (number === 1) recipeIdHex = length === 32 ? toHex(payload.subarray(reader.pos, end)) : null;
        reader.pos = end;
      } else if (number === 2 && wireType === WireType.Varint) policyStep = reader.uint32();
      else reader.skip(wireType, number);
    }
  } catch {
    return null;
  }
  return { recipeIdHex, policyStep };
}

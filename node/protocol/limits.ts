// Every bound on what comes from the network, with its source. Codecs hold to these before they allocate.
// Limits that a recipe sets (maxNewTokens, group size, ...) are narrower and belong to the checks.

const KIB: number = 1024;
const MIB: number = 1024 * KIB;

/** Version of envelope and messages that this node speaks. */
export const PROTOCOL_VERSION: number = 1;

/** An envelope as gossiped. Source: spec/rollouts.md "A group on the wire". (Gossip frames over 4 MiB vanish: design.md.) */
export const ANNOUNCEMENT_MAX_BYTES: number = 64 * KIB;
/** What is left of that for a payload: the other fields take 32 + 32 + 64 bytes, the kind, and their tags and lengths. */
export const PAYLOAD_MAX_BYTES: number = ANNOUNCEMENT_MAX_BYTES - 256;
/** Payloads that anybody may send and everybody keeps: what an honest one can take, so that nobody fills disks with unknown fields. Our own. */
export const VERDICT_MAX_BYTES: number = 2 * KIB;
export const SECRET_MAX_BYTES: number = 256;
/** Of a group: beside its rollouts, and for each of them (a reward ≤ 10, a length ≤ 5). */
export const GROUP_HEAD_MAX_BYTES: number = 256;
export const GROUP_MAX_BYTES_PER_ROLLOUT: number = 16;
/** One range of a blob. Source: spec/wire.md "Streams". */
export const RANGE_MAX_BYTES: number = MIB;
/** One page of a sync answer. Source: spec/wire.md "Streams". */
export const SYNC_PAGE_MAX_BYTES: number = MIB;
/** Any answer on a stream: its data and the few fields around it. */
export const STREAM_ANSWER_MAX_BYTES: number = MIB + 4 * KIB;
/** Any request on a stream: the longest is a list of hashes. */
export const STREAM_REQUEST_MAX_BYTES: number = 600 * KIB;
/** Our own: a sync cursor is opaque to the one who asks. */
export const CURSOR_MAX_BYTES: number = 1 * KIB;
/** Our own: enough for every shard of a manifest (see MAX_SHARDS). */
export const HAVE_MAX_HASHES: number = 16_384;

/** Fields of one message, those of nested ones and unknown ones included. Our own: a manifest of MAX_SHARDS has the most. */
export const MESSAGE_MAX_FIELDS: number = 2_048;

/** A recipe's canonical JSON. Source: spec/wire.md "Signed things". */
export const RECIPE_MAX_BYTES: number = 256 * KIB;

/** Rollouts in a group. Our own: GRPO groups in the field are 4 … 64. */
export const MAX_GROUP_SIZE: number = 256;
/** GRPO needs two to compare. Source: spec/grpo.md (advantages). */
export const MIN_GROUP_SIZE: number = 2;
/** Tokens of one completion, end token included. Our own: the longest reasoning completions trained on are 32 k. */
export const MAX_COMPLETION_TOKENS: number = 65_536;
/** Tokens of a prompt. Our own. */
export const MAX_PROMPT_TOKENS: number = 65_536;
/** Tokens of a whole group: bounds what one body makes a verifier hold. Our own. */
export const MAX_GROUP_TOKENS: number = 2 ** 20;
/** A body: at most 17 bytes a token (varint ≤ 5, f32, proofs 258 bytes per 32 tokens) and 0.3 MiB of prompt, 18 MiB in all. */
export const BODY_MAX_BYTES: number = 32 * MIB;
/** A TOPLOC proof (a modulus and 128 coefficients of two bytes), and the most tokens that one covers. Source: spec/toploc.md. */
export const PROOF_MAX_BYTES: number = 258;
export const PROOF_TOKENS: number = 32;
export const SEQUENCE_PROOFS_MAX_BYTES: number = PROOF_MAX_BYTES * (MAX_COMPLETION_TOKENS / PROOF_TOKENS);
/** A reward in millionths, either sign: a million times a task's usual 1. Our own. */
export const MAX_REWARD_MILLIONTHS: number = 1e12;

/** Shards of one encoding: what fits a gossiped manifest (34 bytes each). At 4 MiB a shard, 7 GB. */
export const MAX_SHARDS: number = 1_800;
/** Our own: a shard is held in memory while its hash is taken. */
export const MAX_SHARD_BYTES: number = 64 * MIB;
/** Weights of one policy. Our own: largest number of shards at their largest size. */
export const MAX_WEIGHTS_BYTES: number = MAX_SHARDS * MAX_SHARD_BYTES;
/** config.json. Our own. */
export const CONFIG_MAX_BYTES: number = 256 * KIB;
/** tokenizer.json or tokenizer_config.json. Our own: the largest in use are some 35 MB. */
export const TOKENIZER_MAX_BYTES: number = 64 * MIB;
/** Lists of group ids in a training record. Our own: 32 bytes for each of a million. */
export const RECORD_LIST_MAX_BYTES: number = 32 * MIB;
/** Any blob that is named in a message. */
export const BLOB_MAX_BYTES: number = 64 * MIB;

/** Latest time, in ms since 1970: what a Date holds. Source: ECMA-262 "Time Values and Time Range". */
export const MAX_TIME_MS: number = 8.64e15;

/** Entries of each list in a trainer's offer. Our own: what fits an announcement. */
export const OFFER_MAX_ENTRIES: number = 256;
/** Names of architectures and other short texts, in UTF-16 units. Our own. */
export const SHORT_TEXT_MAX: number = 64;
/** The note of an evidence, in UTF-16 units. Our own. */
export const NOTE_MAX: number = 512;

/** Trainer keys that one continuation revokes; a recipe names at most 64. */
export const MAX_REVOKED_KEYS = 64;

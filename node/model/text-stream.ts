// Text out of tokens as they come, in whole characters. A byte-level token may end in the middle of one, and some
// tokenizers drop a space before the first word that they decode, so a token's text is what it adds to that of its
// neighbours. Source: the incremental detokenisation of vLLM (vllm/transformers_utils/detokenizer_utils.py).
// Invariant: the pieces joined are the text of all tokens, as decode gives it at once.

/** Text of tokens that come one at a time. Only those behind the last whole piece are decoded, so that a long text costs no more a token than a short one. */
export interface TextStream {
  /** @returns what can be shown of the text so far, perhaps '' */
  push(token: number): string;
  /** @returns what was held back for characters that never became whole */
  end(): string;
}

/** U+FFFD, which decoders write for bytes that are no character (yet). */
const INCOMPLETE = '\ufffd';

export function createTextStream(decode: (ids: readonly number[]) => string): TextStream {
  /** tokens from the last piece on; the first `shown` of them are context */
  let ids: number[] = [];
  let shown = 0;
  const take = (isEnd: boolean): string => {
    const before = decode(ids.slice(0, shown));
    const whole = decode(ids);
    if (whole.length <= before.length || (!isEnd && whole.endsWith(INCOMPLETE))) return '';
    ids = ids.slice(shown);
    shown = ids.length;
    return whole.slice(before.length);
  };
  return {
    push(token) {
      ids.push(token);
      return take(false);
    },
    end: () => (ids.length > shown ? take(true) : ''),
  };
}

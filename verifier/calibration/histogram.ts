// Counts of a measure by hundredths of a decade: quantiles within 1.2 % of any number of values, in little memory, and plain data
// that a calibration can be continued from. 0 and +∞ have bins of their own.

const BINS_A_DECADE = 100;
const ZERO_BIN = -4000;
const INFINITE_BIN = 4000;

/** [bin, count], in no order. */
export type HistogramState = readonly (readonly [bin: number, count: number])[];

export interface Histogram {
  /** @param value ≥ 0, +∞ among them; NaN counts as +∞ */
  add(value: number): void;
  /** The value below which a share `q` lies; 0 of no values. */
  quantile(q: number): number;
  state(): HistogramState;
}

function binOf(value: number): number {
  if (value === 0) return ZERO_BIN;
  if (!Number.isFinite(value)) return INFINITE_BIN;
  return Math.max(ZERO_BIN + 1, Math.min(INFINITE_BIN - 1, Math.round(BINS_A_DECADE * Math.log10(value))));
}

function middleOf(bin: number): number {
  if (bin === ZERO_BIN) return 0;
  return bin === INFINITE_BIN ? Number.POSITIVE_INFINITY : 10 ** (bin / BINS_A_DECADE);
}

export function createHistogram(from: HistogramState = []): Histogram {
  const counts = new Map(from);
  let total = from.reduce((sum, [, count]) => sum + count, 0);
  return {
    add(value) {
      const bin = binOf(value);
      counts.set(bin, (counts.get(bin) ?? 0) + 1);
      total++;
    },
    quantile(q) {
      let left = Math.min(total - 1, Math.floor(q * total));
      for (const bin of [...counts.keys()].sort((a, b) => a - b)) {
        left -= counts.get(bin)!;
        if (left < 0) return middleOf(bin);
      }
      return 0;
    },
    state: () => [...counts],
  };
}

/** Counts of values in equal bins from `low` to `high`. */
export interface MeasurementHistogram {
  low: number;
  high: number;
  counts: Uint32Array;
  /** Finite values. */
  total: number;
}

/** Share of the values that lie beyond the histogram on each side, so that a few extremes do not squeeze the rest. */
const TAIL = 0.001;
/** Values that the limits are estimated from. */
const SAMPLES = 20_000;

/** @param columns values of all objects, in parts */
export function makeHistogram(columns: readonly Float32Array[], bins: number): MeasurementHistogram {
  const length = columns.reduce((sum, column) => sum + column.length, 0);
  const step = Math.max(1, Math.floor(length / SAMPLES));
  const sample: number[] = [];
  let at = 0;
  for (const column of columns) {
    for (; at < column.length; at += step) if (Number.isFinite(column[at]!)) sample.push(column[at]!);
    at -= column.length;
  }
  sample.sort((a, b) => a - b);
  const low = sample[Math.floor(TAIL * (sample.length - 1))] ?? 0;
  const top = sample[Math.ceil((1 - TAIL) * (sample.length - 1))] ?? 1;
  const high = top > low ? top : low + 1;
  const counts = new Uint32Array(bins);
  const factor = bins / (high - low);
  let total = 0;
  for (const column of columns) {
    for (const value of column) {
      if (!Number.isFinite(value)) continue;
      total++;
      counts[Math.min(bins - 1, Math.max(0, Math.floor((value - low) * factor)))]!++;
    }
  }
  return { low, high, counts, total };
}

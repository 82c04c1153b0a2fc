import { product, type Raster, type SampleArray } from "../grid/raster.ts";

/** Normalization of samples to network input: `clip((v - low) / (high - low), clip) * scale + offset`. */
export interface IntensityNormalization {
  low: number;
  high: number;
  clip?: readonly [number, number];
  scale?: number;
  offset?: number;
}

/** Histogram of sample values, for percentiles of data too large for memory. Integer samples up to 16 bits. */
export class Histogram {
  readonly counts: Float64Array;
  total = 0;

  constructor(bins: number) {
    this.counts = new Float64Array(bins);
  }

  add(data: SampleArray): void {
    const { counts } = this;
    for (let i = 0; i < data.length; i++) counts[data[i]!]!++;
    this.total += data.length;
  }

  /** The q-th percentile (0..100), linear between ranks as numpy's default. */
  percentile(q: number): number {
    if (this.total === 0) throw new RangeError("no samples to take a percentile of");
    const rank = (q / 100) * (this.total - 1);
    const below = this.#atRank(Math.floor(rank));
    const above = this.#atRank(Math.ceil(rank));
    return below + (above - below) * (rank - Math.floor(rank));
  }

  #atRank(rank: number): number {
    let seen = 0;
    for (let v = 0; v < this.counts.length; v++) {
      seen += this.counts[v]!;
      if (seen > rank) return v;
    }
    return this.counts.length - 1;
  }
}

/**
 * Normalizes windows `[N, ...window, C]` of pixels to network input `[N, C, ...window]`, float32. A grey source feeds all
 * channels of a colour model (`channels` > 1).
 */
export function normalizeWindows(
  pixels: Raster,
  channels: number,
  scaling: IntensityNormalization,
): Raster<Float32Array> {
  const windows = pixels.shape[0]!;
  const spatial = pixels.shape.slice(1, -1);
  const from = pixels.shape.at(-1)!;
  if (from !== channels && from !== 1) {
    throw new RangeError(`pixels have ${from} channels, the model takes ${channels}`);
  }
  const size = product(spatial);
  const out = new Float32Array(windows * channels * size);
  const { data } = pixels;
  const table = data instanceof Uint8Array ? lookup(scaling) : undefined;
  const apply = scaler(scaling);
  for (let n = 0; n < windows; n++) {
    for (let c = 0; c < channels; c++) {
      const to = (n * channels + c) * size;
      let at = n * size * from + (from === 1 ? 0 : c);
      if (table) for (let i = 0; i < size; i++, at += from) out[to + i] = table[data[at]!]!;
      else for (let i = 0; i < size; i++, at += from) out[to + i] = apply(data[at]!);
    }
  }
  return { data: out, shape: [windows, channels, ...spatial] };
}

/**
 * As `normalizeWindows` for one window `[...window, C]` with its channels left last, into `out`.
 * @throws {RangeError} if the pixels have other channels than the model
 */
export function normalizeChannelsLast(
  data: SampleArray,
  from: number,
  channels: number,
  scaling: IntensityNormalization,
  out: Float32Array,
): void {
  if (from !== channels && from !== 1) {
    throw new RangeError(`pixels have ${from} channels, the model takes ${channels}`);
  }
  const repeats = channels / from;
  const table = data instanceof Uint8Array ? lookup(scaling) : undefined;
  const apply = scaler(scaling);
  for (let i = 0, to = 0; i < data.length; i++) {
    const value = table ? table[data[i]!]! : apply(data[i]!);
    for (let c = 0; c < repeats; c++) out[to++] = value;
  }
}

function scaler({ low, high, clip, scale = 1, offset = 0 }: IntensityNormalization): (v: number) => number {
  const range = Math.max(high - low, 1e-6);
  const least = clip?.[0] ?? Number.NEGATIVE_INFINITY;
  const most = clip?.[1] ?? Number.POSITIVE_INFINITY;
  // NaN (no data, in float images) counts as the lowest intensity.
  return (v) => Math.min(most, Math.max(least, Number.isNaN(v) ? 0 : (v - low) / range)) * scale + offset;
}

function lookup(scaling: IntensityNormalization): Float32Array {
  return Float32Array.from({ length: 256 }, (_, v) => scaler(scaling)(v));
}

import type { SampleArray } from "../../../src/tiling/grid/raster.ts";
import { toFloat16Bits } from "../../../src/tiling/pixels/float16.ts";
import type { SampleRange } from "../data/image-messages.ts";

/** Halves of every 16-bit sample, for the last range: a table is ten times as fast as converting each sample. */
let table: { key: string; halves: Uint16Array } | undefined;

/**
 * Samples `[pixels, channels]` channel by channel, as the graphics card takes them: bytes as they are, anything else as
 * half-precision floats from 0 (`range.low`) to 1 (`range.high`).
 */
export function toPlanes(
  data: SampleArray,
  channels: number,
  shown: number,
  range: SampleRange,
): Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> {
  const pixels = data.length / channels;
  if (data instanceof Uint8Array) {
    const out = new Uint8Array(pixels * shown);
    for (let c = 0; c < shown; c++)
      for (let p = 0, from = c, to = c * pixels; p < pixels; p++, from += channels) out[to + p] = data[from]!;
    return out;
  }
  const out = new Uint16Array(pixels * shown);
  const isSigned = data instanceof Int16Array;
  const halves = isSigned || data instanceof Uint16Array ? halfTable(range, isSigned) : undefined;
  const factor = 1 / (range.high - range.low || 1);
  for (let c = 0; c < shown; c++) {
    for (let p = 0, from = c, to = c * pixels; p < pixels; p++, from += channels) {
      const sample = data[from]!;
      out[to + p] = halves
        ? halves[sample & 0xffff]!
        : toFloat16Bits(clampUnit((sample - range.low) * factor));
    }
  }
  return out;
}

/** By the 16 bits of a sample. */
function halfTable({ low, high }: SampleRange, isSigned: boolean): Uint16Array {
  const key = `${low}/${high}/${isSigned}`;
  if (table?.key === key) return table.halves;
  const halves = new Uint16Array(65_536);
  for (let bits = 0; bits < 65_536; bits++) {
    const sample = isSigned && bits > 32_767 ? bits - 65_536 : bits;
    halves[bits] = toFloat16Bits(clampUnit((sample - low) / (high - low || 1)));
  }
  table = { key, halves };
  return halves;
}

/** NaN becomes 0. */
function clampUnit(value: number): number {
  return value > 0 ? Math.min(1, value) : 0;
}

/** Minimum and maximum of the finite samples. */
export function finiteRange(data: SampleArray): SampleRange {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const sample of data) {
    if (!Number.isFinite(sample)) continue;
    if (sample < low) low = sample;
    if (sample > high) high = sample;
  }
  return low <= high ? { low, high } : { low: 0, high: 1 };
}

/** Samples of a channel looked at for its contrast. */
const CONTRAST_SAMPLES = 100_000;

/** From the 1st to the 99.8th percentile of a channel, as the nuclei field scales intensities. */
export function suggestContrast(data: SampleArray, channels: number, channel: number): SampleRange {
  const pixels = Math.floor(data.length / channels);
  const step = Math.max(1, Math.floor(pixels / CONTRAST_SAMPLES));
  const values: number[] = [];
  for (let p = 0; p < pixels; p += step) {
    const sample = data[p * channels + channel]!;
    if (Number.isFinite(sample)) values.push(sample);
  }
  if (values.length === 0) return { low: 0, high: 1 };
  const sorted = Float64Array.from(values).sort();
  const low = sorted[Math.floor(0.01 * (sorted.length - 1))]!;
  const high = sorted[Math.ceil(0.998 * (sorted.length - 1))]!;
  return high > low ? { low, high } : { low, high: low + 1 };
}

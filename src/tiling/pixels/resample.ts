import { allocate, getDType, product, type Raster } from "../grid/raster.ts";

interface Taps {
  /** First source index and weights of each output sample, flattened with `count` weights each. */
  first: Int32Array;
  weights: Float32Array;
  count: number;
}

/**
 * Linear filter between two sample counts along one axis: a triangle as wide as the coarser grid, centres aligned (as in
 * PIL and torch's antialiased bilinear). The weights of an output sample sum to 1.
 */
function taps(from: number, to: number): Taps {
  const ratio = from / to;
  const support = Math.max(1, ratio);
  const count = Math.min(from, Math.ceil(2 * support) + 1);
  const first = new Int32Array(to);
  const weights = new Float32Array(to * count);
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * ratio - 0.5;
    const start = Math.min(Math.max(0, Math.ceil(centre - support)), from - count);
    first[i] = start;
    let sum = 0;
    for (let t = 0; t < count; t++) {
      const w = Math.max(0, 1 - Math.abs(start + t - centre) / support);
      weights[i * count + t] = w;
      sum += w;
    }
    for (let t = 0; t < count; t++) weights[i * count + t]! /= sum;
  }
  return { first, weights, count };
}

/**
 * Resamples `[outer, ...spatial, inner]` to new spatial sizes, axis by axis. `outer` are leading planes (windows
 * or classes), `inner` interleaved values (channels). Integer samples are rounded.
 */
export function resample(raster: Raster, spatial: readonly number[], leading: number): Raster {
  const inner = product(raster.shape.slice(leading + spatial.length));
  const dtype = getDType(raster.data);
  const shape = [...raster.shape];
  let data: ArrayLike<number> = raster.data;
  for (let a = 0; a < spatial.length; a++) {
    const axis = leading + a;
    const from = shape[axis]!;
    const to = spatial[a]!;
    if (from === to) continue;
    const outer = product(shape.slice(0, axis));
    const step = product(shape.slice(axis + 1, leading + spatial.length)) * inner;
    const { first, weights, count } = taps(from, to);
    const out = new Float32Array(outer * to * step);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < to; i++) {
        const target = (o * to + i) * step;
        for (let t = 0; t < count; t++) {
          const w = weights[i * count + t]!;
          if (w === 0) continue;
          const source = (o * from + first[i]! + t) * step;
          for (let s = 0; s < step; s++) out[target + s]! += w * data[source + s]!;
        }
      }
    }
    data = out;
    shape[axis] = to;
  }
  if (data === raster.data) return raster;
  if (dtype === "float32") return { data: data as Float32Array, shape };
  const rounded = allocate(dtype, data.length);
  for (let i = 0; i < rounded.length; i++) rounded[i] = Math.round(data[i]!);
  return { data: rounded, shape };
}

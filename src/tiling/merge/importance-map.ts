import { product } from "../grid/raster.ts";
import { fromFloat16Bits, toFloat16Bits } from "../pixels/float16.ts";

export type ImportanceKind = "constant" | "gaussian-monai" | "gaussian-nnunet";

/** Blending weights of a window: `[...window]`, float32, all above 0. */
export function importanceMap(kind: ImportanceKind, window: readonly number[]): Float32Array {
  if (kind === "constant") return new Float32Array(product(window)).fill(1);
  return kind === "gaussian-monai" ? monaiGaussian(window) : nnunetGaussian(window);
}

/**
 * MONAI `compute_importance_map(mode="gaussian", sigma_scale=0.125)` as its inferer uses it: float32 products,
 * without normalizing the peak, clamped from below at max(smallest weight, 1e-3).
 */
function monaiGaussian(window: readonly number[]): Float32Array {
  const axes = window.map((n) => {
    const sigma = Math.fround(0.125 * n);
    return Float32Array.from({ length: n }, (_, i) => {
      const x = i - (n - 1) / 2;
      return Math.exp(Math.fround(x * x) / (-2 * sigma * sigma));
    });
  });
  const map = outer(axes);
  let least = Number.POSITIVE_INFINITY;
  for (const w of map) if (w < least) least = w;
  const floor = Math.fround(Math.max(least, 1e-3));
  for (let i = 0; i < map.length; i++) if (map[i]! < floor) map[i] = floor;
  return map;
}

/**
 * nnU-Net v2 `compute_gaussian`: scipy's `gaussian_filter` of a delta at the centre (sigma window/8, constant
 * border, truncate 4), scaled to a peak of 10 and kept in half precision; zeros become the smallest weight.
 */
function nnunetGaussian(window: readonly number[]): Float32Array {
  const axes = window.map((n) => {
    const sigma = n / 8;
    const radius = Math.trunc(4 * sigma + 0.5);
    let sum = 0;
    for (let x = -radius; x <= radius; x++) sum += Math.exp((-0.5 * x * x) / (sigma * sigma));
    const centre = Math.floor(n / 2);
    return Float64Array.from({ length: n }, (_, i) => {
      const x = i - centre;
      return Math.abs(x) > radius ? 0 : Math.exp((-0.5 * x * x) / (sigma * sigma)) / sum;
    });
  });
  const peak = axes.reduce((p, axis, a) => p * axis[Math.floor(window[a]! / 2)]!, 1);
  const size = product(window);
  const map = new Float32Array(size);
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < size; i++) {
    let w = 1;
    for (let axis = window.length - 1, rest = i; axis >= 0; axis--) {
      const n = window[axis]!;
      w *= axes[axis]![rest % n]!;
      rest = Math.floor(rest / n);
    }
    w = fromFloat16Bits(toFloat16Bits(w / (peak / 10)));
    map[i] = w;
    if (w > 0 && w < least) least = w;
  }
  for (let i = 0; i < size; i++) if (map[i] === 0) map[i] = least;
  return map;
}

/** Outer product, rounded to float32 after each axis as torch does it. */
function outer(axes: readonly Float32Array[]): Float32Array {
  let map = axes[0]!.slice();
  for (const axis of axes.slice(1)) {
    const next = new Float32Array(map.length * axis.length);
    for (let i = 0; i < map.length; i++) {
      const w = map[i]!;
      for (let j = 0; j < axis.length; j++) next[i * axis.length + j] = w * axis[j]!;
    }
    map = next;
  }
  return map;
}

import { intersect } from "../grid/box.ts";
import { allocate, getDType, product, type Raster, type Rect, type SampleArray } from "../grid/raster.ts";

/** Padding beyond the border of an image. */
export type Padding = "reflect" | "constant";

/**
 * The source samples that a window needs: the window cut at the image border, extended where reflection needs samples
 * from inside. `undefined` only for a window entirely outside.
 */
export function regionForWindow(window: Rect, imageShape: readonly number[]): Rect | undefined {
  const image = { origin: imageShape.map(() => 0), size: imageShape };
  const inside = intersect(window, image);
  if (!inside) return undefined;
  const origin: number[] = [];
  const size: number[] = [];
  for (let axis = 0; axis < imageShape.length; axis++) {
    const start = window.origin[axis]!;
    const end = start + window.size[axis]!;
    const n = imageShape[axis]!;
    const mirroredFromStart = start < 0 ? Math.min(n, -start + 1) : 0;
    const mirroredFromEnd = end > n ? Math.max(0, n - (end - n) - 1) : n;
    const from = Math.min(inside.origin[axis]!, mirroredFromEnd);
    const to = Math.max(inside.origin[axis]! + inside.size[axis]!, mirroredFromStart);
    origin.push(from);
    size.push(to - from);
  }
  return { origin, size };
}

/**
 * Extracts `window` (in image coordinates) from `region`, which holds the image samples of `regionRect`
 * (`[...size, C]`). Only samples beyond the image are padded.
 * @param out zeros; receives the window
 */
export function extractWindow(
  region: Raster,
  regionRect: Rect,
  window: Rect,
  imageShape: readonly number[],
  padding: Padding = "reflect",
  out = allocate(getDType(region.data), product(window.size) * region.shape.at(-1)!),
): Raster {
  const channels = region.shape[imageShape.length]!;
  const maps = imageShape.map((n, axis) =>
    axisMap(
      window.origin[axis]!,
      window.size[axis]!,
      n,
      regionRect.origin[axis]!,
      regionRect.size[axis]!,
      padding,
    ),
  );
  copyMapped(region.data, regionRect.size, maps, channels, out);
  return { data: out, shape: [...window.size, channels] };
}

/**
 * Extracts a window that is one slice thick along `axis`, for a 2-D network that sees `context` slices before and after it:
 * `[...size without axis, (2 context + 1) C]`, the channels of the first slice first. The edge slice is repeated beyond
 * the border.
 */
export function extractSlices(
  region: Raster,
  regionRect: Rect,
  window: Rect,
  imageShape: readonly number[],
  { axis, context }: { axis: number; context: number },
): Raster {
  const channels = region.shape[imageShape.length]!;
  const count = 2 * context + 1;
  const samples = product(window.size);
  const out = allocate(getDType(region.data), samples * channels * count);
  for (let d = 0; d < count; d++) {
    const at = Math.min(Math.max(window.origin[axis]! + d - context, 0), imageShape[axis]! - 1);
    const slice = { origin: window.origin.with(axis, at), size: window.size };
    const { data } = extractWindow(region, regionRect, slice, imageShape);
    for (let i = 0; i < samples; i++) {
      for (let c = 0; c < channels; c++) out[(i * count + d) * channels + c] = data[i * channels + c]!;
    }
  }
  return { data: out, shape: [...window.size.filter((_, a) => a !== axis), channels * count] };
}

/** For each window sample along an axis its index in the region, or -1 for constant padding. */
function axisMap(
  start: number,
  size: number,
  n: number,
  regionStart: number,
  regionSize: number,
  padding: Padding,
) {
  const map = new Int32Array(size);
  for (let i = 0; i < size; i++) {
    const at = start + i;
    if (at < 0 || at >= n) {
      if (padding === "constant") {
        map[i] = -1;
        continue;
      }
    }
    const index = reflect(at, n) - regionStart;
    if (index < 0 || index >= regionSize) {
      throw new RangeError(
        `the region holds ${regionSize} samples from ${regionStart}, the window needs ${at}`,
      );
    }
    map[i] = index;
  }
  return map;
}

/** Mirrors about the border sample without repeating it (numpy's "reflect"). */
function reflect(at: number, n: number): number {
  if (at >= 0 && at < n) return at;
  if (n === 1) return 0;
  const period = 2 * (n - 1);
  const m = ((at % period) + period) % period;
  return m < n ? m : period - m;
}

function copyMapped(
  from: SampleArray,
  size: readonly number[],
  maps: readonly Int32Array[],
  channels: number,
  to: SampleArray,
): void {
  const last = maps.length - 1;
  const xMap = maps[last]!;
  const width = xMap.length;
  let direct = xMap[0]! >= 0;
  for (let x = 1; x < width && direct; x++) direct = xMap[x] === xMap[0]! + x;
  const rows = product(maps.slice(0, last).map((m) => m.length));
  for (let row = 0; row < rows; row++) {
    let base = 0;
    let outside = false;
    for (let axis = last - 1, rest = row, stride = size[last]!; axis >= 0; axis--) {
      const map = maps[axis]!;
      const at = map[rest % map.length]!;
      rest = Math.floor(rest / map.length);
      if (at < 0) outside = true;
      base += at * stride;
      stride *= size[axis]!;
    }
    if (outside) continue;
    const target = row * width * channels;
    if (direct) {
      const start = (base + xMap[0]!) * channels;
      to.set(from.subarray(start, start + width * channels), target);
      continue;
    }
    for (let x = 0; x < width; x++) {
      const at = xMap[x]!;
      if (at < 0) continue;
      for (let c = 0; c < channels; c++) to[target + x * channels + c] = from[(base + at) * channels + c]!;
    }
  }
}

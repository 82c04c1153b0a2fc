import { gunzipSync } from "node:zlib";
import { type Pixels, worldOrigin } from "./chromium.ts";

/** Scale of the views, in device pixels per label: a view of 1280 × 800 lies in one chunk of 512². */
export const SCALE = 2;
/** Labels that a chunk needs in its middle to be looked at. */
const MIN_LABELS = 2000;
/** Half of the part of a chunk that is counted, in labels. */
const HALF_SHOWN = 150;
/** Labels around a place that is clicked. */
const CLICK_RADIUS = 4;

type Color = readonly [number, number, number];

/** A merged chunk of a running job's label map, and the view in its middle. Labels are pixels of the scan's full resolution. */
export interface LabelChunk {
  /** The compressed bytes, as in the results. */
  stored: Buffer;
  /** Path in the label map: `row/column`. */
  key: string;
  /** Middle, in pixels of the scan. */
  middle: { x: number; y: number };
  /** Label at a pixel of the scan; undefined outside of the chunk. */
  at(x: number, y: number): number | undefined;
  /** Colours of the labels; none for the background. */
  colors: readonly (Color | undefined)[];
  /** A place deep inside of an object. */
  inside: { x: number; y: number };
}

/**
 * Finds a merged chunk with objects in its middle.
 * @param read a path below the job @returns undefined if none is merged yet
 */
export async function findLabelChunk(
  read: (path: string) => Promise<Buffer | undefined>,
): Promise<LabelChunk | undefined> {
  const listed = await read("labels");
  if (listed === undefined) return undefined;
  const { shape, chunk, blockChunks, merged, classes, placement } = JSON.parse(listed.toString()) as {
    shape: [number, number];
    chunk: [number, number];
    blockChunks: [number, number];
    merged: number[];
    classes: { color: string }[];
    placement: { origin: number[]; downsample: number[] };
  };
  if (placement.origin.some((at) => at !== 0) || placement.downsample.some((by) => by !== 1))
    throw new Error("the labels of this scan are not at its full resolution");
  const colors = classes.map(({ color }, i) =>
    i === 0
      ? undefined
      : ([1, 3, 5].map((from) => Number.parseInt(color.slice(from, from + 2), 16)) as never),
  );
  const counts = shape.map((n, axis) => Math.floor(n / chunk[axis]!));
  const across = Math.ceil(shape[1] / chunk[1] / blockChunks[1]);
  for (let row = 0; row < counts[0]!; row++) {
    for (let column = 0; column < counts[1]!; column++) {
      const block = Math.floor(row / blockChunks[0]) * across + Math.floor(column / blockChunks[1]);
      const key = `${row}/${column}`;
      const stored = merged.includes(block) ? await read(`labels/${key}`) : undefined;
      if (stored === undefined) continue;
      const labels = gunzipSync(stored);
      const [top, left] = [row * chunk[0], column * chunk[1]];
      const at = (x: number, y: number) =>
        x < left || y < top || x >= left + chunk[1] || y >= top + chunk[0]
          ? undefined
          : labels[(y - top) * chunk[1] + x - left];
      const middle = { x: left + chunk[1] / 2, y: top + chunk[0] / 2 };
      const inside = findInside(at, middle);
      if (inside) return { stored, key, middle, at, colors, inside };
    }
  }
  return undefined;
}

function findInside(at: LabelChunk["at"], middle: { x: number; y: number }) {
  let count = 0;
  let found: { x: number; y: number } | undefined;
  for (let y = middle.y - HALF_SHOWN; y < middle.y + HALF_SHOWN; y++) {
    for (let x = middle.x - HALF_SHOWN; x < middle.x + HALF_SHOWN; x++) {
      if (!at(x, y)) continue;
      count++;
      found ??= isDeep(at, x, y) ? { x, y } : undefined;
    }
  }
  return count >= MIN_LABELS ? found : undefined;
}

/** Whether all labels around a place are of the first class, the inside of objects. */
function isDeep(at: LabelChunk["at"], x: number, y: number): boolean {
  for (let v = y - CLICK_RADIUS; v <= y + CLICK_RADIUS; v++)
    for (let u = x - CLICK_RADIUS; u <= x + CLICK_RADIUS; u++) if (at(u, v) !== 1) return false;
  return true;
}

/**
 * Compares each pixel of a picture with the labels of the chunk.
 * @param bare the same view without labels @param painted with opaque ones
 * @returns pixels that are as they should be with a label, and those that are not
 */
export function comparePainted(
  bare: Pixels,
  painted: Pixels,
  chunk: LabelChunk,
): { labelled: number; changed: number; wrong: number } {
  const { middle, colors, at } = chunk;
  const origin = worldOrigin(painted, middle.x, middle.y, SCALE);
  // A bar above the picture changes its height: the middle stays.
  const before = worldOrigin(bare, middle.x, middle.y, SCALE);
  const [shiftX, shiftY] = [(origin.x - before.x) * SCALE, (origin.y - before.y) * SCALE];
  const counts = { labelled: 0, changed: 0, wrong: 0 };
  for (let v = 0; v < painted.height; v++) {
    for (let u = 0; u < painted.width; u++) {
      const [x, y] = [Math.floor(origin.x + (u + 0.5) / SCALE), Math.floor(origin.y + (v + 0.5) / SCALE)];
      const label = at(x, y);
      const [fromX, fromY] = [u + shiftX, v + shiftY];
      const isKnown = fromX >= 0 && fromY >= 0 && fromX < bare.width && fromY < bare.height;
      if (label === undefined || !isKnown) continue;
      const got = painted.at(u, v);
      const was = bare.at(fromX, fromY);
      const want = colors[label] ?? was;
      if (want.some((value, c) => Math.abs(value - got[c]!) > 1)) counts.wrong++;
      else if (colors[label]) {
        counts.labelled++;
        if (was.some((value, c) => Math.abs(value - got[c]!) > 30)) counts.changed++;
      }
    }
  }
  return counts;
}

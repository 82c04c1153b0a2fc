import { product, type Raster } from "../../tiling/grid/raster.ts";
import { withCaption } from "./caption.ts";
import type { WriteOutputsOptions } from "./outputs-options.ts";
import { vividColor } from "./overlay.ts";
import { spacingInMm } from "./volume-summary.ts";

/** Number of slices in the picture of a volume. */
const COLUMNS = 3;
const MAX_SLICES = 9;
/** Pixels of the longer side of a slice in the picture; slices are resized to it. */
const MAX_SIDE = 512;
const MIN_SIDE = 256;

/**
 * Draws slices of a volume side by side, evenly spread over those with labels, with the outlines of its structures and in
 * true proportions.
 * @param labelled number of labelled samples of each slice
 */
export async function drawSlices(
  options: WriteOutputsOptions,
  labelled: readonly number[],
): Promise<Raster<Uint8Array>> {
  const { labelStore, readSlice, warnings = [], overlayStyle = "outline" } = options;
  const { info } = labelStore;
  const [depth, height, width] = info.shape as [number, number, number];
  const chosen = chooseSlices(labelled, depth);
  const [, spacingY, spacingX] = spacingInMm(info) ?? [1, 1, 1];
  // Millimetres per pixel of the picture, whose pixels are square.
  const long = Math.max(height * spacingY, width * spacingX);
  const samples = Math.max(height, width);
  const millimetres = long / Math.min(MAX_SIDE, Math.max(MIN_SIDE, samples));
  const panel = {
    height: Math.max(1, Math.round((height * spacingY) / millimetres)),
    width: Math.max(1, Math.round((width * spacingX) / millimetres)),
  };
  const columns = Math.min(COLUMNS, chosen.length);
  const rows = Math.ceil(chosen.length / columns);
  const out = new Uint8Array(rows * panel.height * columns * panel.width * 3);
  const colours = info.classes.map(({ color }) => {
    const value = Number.parseInt(color.slice(1), 16);
    return vividColor([value >> 16, (value >> 8) & 255, value & 255]);
  });
  for (const [n, z] of chosen.entries()) {
    const labels = await readLabelSlice(options, z);
    const grey = await readSlice!(z);
    const top = Math.floor(n / columns) * panel.height;
    const left = (n % columns) * panel.width;
    const at = (y: number, x: number) =>
      Math.min(height - 1, Math.floor(((y + 0.5) * height) / panel.height)) * width +
      Math.min(width - 1, Math.floor(((x + 0.5) * width) / panel.width));
    for (let y = 0; y < panel.height; y++) {
      for (let x = 0; x < panel.width; x++) {
        const sample = at(y, x);
        const label = labels[sample]!;
        const isEdge =
          label > 0 &&
          (labels[at(Math.max(0, y - 1), x)] !== label ||
            labels[at(Math.min(panel.height - 1, y + 1), x)] !== label ||
            labels[at(y, Math.max(0, x - 1))] !== label ||
            labels[at(y, Math.min(panel.width - 1, x + 1))] !== label);
        const opacity = isEdge ? 1 : label > 0 && overlayStyle === "fill" ? 0.45 : 0;
        const to = ((top + y) * columns * panel.width + left + x) * 3;
        for (let c = 0; c < 3; c++) {
          const shown = grey.data[sample]!;
          out[to + c] = shown + ((colours[label]?.[c] ?? 0) - shown) * opacity + 0.5;
        }
      }
    }
  }
  const picture = { data: out, shape: [rows * panel.height, columns * panel.width, 3] };
  return withCaption(picture, {
    legend: info.classes.slice(1).map(({ name }, i) => ({ name, color: colours[i + 1]! })),
    micrometresPerPixel: info.spacing === undefined ? undefined : millimetres * 1000,
    warnings,
  });
}

/** Slices evenly spread from the first labelled one to the last, or over all slices if none is labelled. */
function chooseSlices(labelled: readonly number[], depth: number): number[] {
  const first = labelled.findIndex((n) => n > 0);
  const last = labelled.findLastIndex((n) => n > 0);
  const [from, to] = first < 0 ? [0, depth - 1] : [first, last];
  const count = Math.min(MAX_SLICES, to - from + 1);
  return Array.from({ length: count }, (_, i) => from + Math.floor(((i + 0.5) * (to - from + 1)) / count));
}

async function readLabelSlice({ labelStore, signal }: WriteOutputsOptions, z: number): Promise<Uint8Array> {
  const { shape, chunk } = labelStore.info;
  const [, height, width] = shape as [number, number, number];
  const [thickness, tileHeight, tileWidth] = chunk as [number, number, number];
  const out = new Uint8Array(height * width);
  for (let row = 0; row * tileHeight < height; row++) {
    for (let column = 0; column * tileWidth < width; column++) {
      const tile = await labelStore.readTile([Math.floor(z / thickness), row, column], { signal });
      if (tile === undefined) continue;
      const inTile = (z % thickness) * product([tileHeight, tileWidth]);
      const across = Math.min(tileWidth, width - column * tileWidth);
      for (let y = 0; y < Math.min(tileHeight, height - row * tileHeight); y++) {
        const from = inTile + y * tileWidth;
        out.set(tile.data.subarray(from, from + across), (row * tileHeight + y) * width + column * tileWidth);
      }
    }
  }
  return out;
}

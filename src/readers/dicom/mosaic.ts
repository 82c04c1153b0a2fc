import type { Affine } from "../../image/affine.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import type { DataSet } from "./data-set.ts";
import { UnsupportedDicomError } from "./errors.ts";
import type { PixelFormat } from "./pixel-format.ts";
import { siemensCsa } from "./siemens-csa.ts";
import { checkPosition, cross, dot, type SlicePosition, scale, toRas, type Vector, vector } from "./stack.ts";

/** A Siemens mosaic: the slices of a volume side by side in one picture, row by row; the last row may not be full. */
export interface Mosaic {
  /** Number of slices. */
  count: number;
  /** Slices in a row; there are as many rows. */
  across: number;
  /** Of one slice. */
  rows: number;
  columns: number;
  /** Millimetres between slices. */
  spacing: number;
  sliceNormal: readonly number[];
  warnings: readonly string[];
}

/**
 * Reads the layout of a mosaic; undefined for any other picture.
 * @throws {UnsupportedDicomError} for a mosaic whose header does not describe its layout
 */
export function readMosaic(dataSet: DataSet, format: PixelFormat): Mosaic | undefined {
  const csa = siemensCsa(dataSet);
  const named = dataSet.texts("imageType").includes("MOSAIC") && dataSet.text("modality") === "MR";
  const count = csa?.imagesInMosaic ?? dataSet.number("imagesInMosaic");
  if (!named && !((csa?.imagesInMosaic ?? 0) > 1)) return undefined;
  const headerError = (what: string) =>
    new UnsupportedDicomError(
      `it is a mosaic of several slices in one picture, and its private Siemens header ${what}; convert the original files to NIfTI with dcm2niix`,
    );
  if (count === undefined) throw headerError("does not state their number");
  const across = Math.ceil(Math.sqrt(count));
  const rows = format.rows / across;
  const columns = format.columns / across;
  const whole = Number.isInteger(rows) && Number.isInteger(columns);
  if (!(Number.isInteger(count) && count >= 1 && whole))
    throw headerError(`states ${count} slices, which ${format.columns} × ${format.rows} pixels do not hold`);
  const sliceNormal = csa?.sliceNormal;
  if (sliceNormal === undefined || !sliceNormal.every(Number.isFinite) || Math.hypot(...sliceNormal) < 0.5)
    throw headerError("does not state the direction in which they follow each other");
  const between = positive(dataSet.number("spacingBetweenSlices"));
  const thickness = positive(dataSet.number("sliceThickness"));
  const spacing = between ?? thickness;
  if (spacing === undefined)
    throw new UnsupportedDicomError("its header does not state the distance of its slices");
  const warning = `the distance of its slices is not stated; their thickness of ${spacing} mm is taken for it`;
  return {
    count,
    across,
    rows,
    columns,
    spacing,
    sliceNormal,
    warnings: between === undefined ? [warning] : [],
  };
}

/**
 * The affine of the volume. The file states the first pixel of the whole mosaic as if it were one picture about the
 * same centre, so the first slice begins half the difference further in (as in dcm2niix and nibabel).
 */
export function mosaicAffine(mosaic: Mosaic, place: SlicePosition, { rows, columns }: PixelFormat): Affine {
  checkPosition(place);
  const [betweenRows, betweenColumns] = place.pixelSpacing as [number, number];
  const alongRow = scale(vector(place.orientation, 0), betweenColumns);
  const alongColumn = scale(vector(place.orientation, 3), betweenRows);
  const normal = cross(vector(place.orientation, 0), vector(place.orientation, 3));
  const stated = vector(mosaic.sliceNormal, 0);
  const cosine = dot(normal, stated) / Math.hypot(...stated);
  if (!(Math.abs(cosine) > 0.99))
    throw new UnsupportedDicomError(
      "its slices follow each other in a direction that is not that of their plane",
    );
  const inX = (columns - mosaic.columns) / 2;
  const inY = (rows - mosaic.rows) / 2;
  const origin = [0, 1, 2].map(
    (axis) => place.position[axis]! + alongRow[axis]! * inX + alongColumn[axis]! * inY,
  ) as unknown as Vector;
  return toRas([alongRow, alongColumn, scale(normal, Math.sign(cosine) * mosaic.spacing), origin]);
}

/** Cuts the picture `[rows, columns, samples]` into its slices `[z, y, x, samples]`. */
export function splitMosaic(picture: Raster, { count, across, rows, columns }: Mosaic): Raster {
  const samples = picture.shape[2]!;
  const rowSamples = across * columns * samples;
  const strip = columns * samples;
  const data = picture.data.slice(0, count * rows * strip);
  for (let z = 0, to = 0; z < count; z++) {
    const from = Math.floor(z / across) * rows * rowSamples + (z % across) * strip;
    for (let y = 0; y < rows; y++, to += strip) {
      const at = from + y * rowSamples;
      data.set(picture.data.subarray(at, at + strip), to);
    }
  }
  return { data, shape: [count, rows, columns, samples] };
}

const positive = (value: number | undefined) => (value !== undefined && value > 0 ? value : undefined);

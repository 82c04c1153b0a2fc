import { MAX_SIDE } from "../../image/limits.ts";
import type { DType } from "../../tiling/grid/raster.ts";
import type { DataSet } from "./data-set.ts";
import { UnsupportedDicomError } from "./errors.ts";
import { type DicomPalette, readPalette } from "./palette.ts";
import type { PixelCoding } from "./transfer-syntax.ts";

/** How the samples of a frame are stored (PS3.3 section C.7.6.3). */
export interface PixelFormat {
  rows: number;
  columns: number;
  samples: 1 | 3;
  bitsAllocated: 8 | 16 | 32;
  bitsStored: number;
  highBit: number;
  signed: boolean;
  /** Component by component; native frames and JPEG both state it, but it is true of native ones only. */
  planar: boolean;
  photometric: string;
  /** Palette of the stored values, if they are indices. */
  palette?: DicomPalette;
}

const PHOTOMETRICS: ReadonlySet<string> = new Set([
  "MONOCHROME1",
  "MONOCHROME2",
  "PALETTE COLOR",
  "RGB",
  "YBR_FULL",
  "YBR_FULL_422",
  "YBR_ICT",
  "YBR_RCT",
]);

/** @throws {UnsupportedDicomError} when the samples are of a kind that is not read */
export function readPixelFormat(dataSet: DataSet, coding: PixelCoding): PixelFormat {
  const rows = dataSet.number("rows") ?? 0;
  const columns = dataSet.number("columns") ?? 0;
  if (!(rows >= 1 && columns >= 1 && rows <= MAX_SIDE && columns <= MAX_SIDE))
    throw new UnsupportedDicomError(`its header states frames of ${columns} × ${rows} pixels`);
  const samples = dataSet.number("samplesPerPixel") ?? 1;
  const photometric = dataSet.text("photometric") ?? "";
  if (!PHOTOMETRICS.has(photometric))
    throw new UnsupportedDicomError("its header does not state what its samples mean");
  const expected = photometric.startsWith("MONOCHROME") || photometric === "PALETTE COLOR" ? 1 : 3;
  if (samples !== expected)
    throw new UnsupportedDicomError(`its header states ${samples} samples a pixel for ${photometric}`);
  if (dataSet.has("modalityTable"))
    throw new UnsupportedDicomError(
      "its values come from a look-up table, which is not supported; apply the table first",
    );

  const bitsAllocated = dataSet.number("bitsAllocated") ?? 0;
  if (bitsAllocated !== 8 && bitsAllocated !== 16 && bitsAllocated !== 32)
    throw new UnsupportedDicomError(`it has samples of ${bitsAllocated} bits, which are not supported`);
  if (bitsAllocated > 8 && samples === 3)
    throw new UnsupportedDicomError(
      `it has colours of ${bitsAllocated} bits, which are not supported; convert it to 8`,
    );
  const bitsStored = dataSet.number("bitsStored") ?? bitsAllocated;
  const highBit = dataSet.number("highBit") ?? bitsStored - 1;
  if (!(bitsStored >= 1 && highBit >= bitsStored - 1 && highBit < bitsAllocated))
    throw new UnsupportedDicomError(
      `its header states ${bitsStored} bits up to bit ${highBit} of ${bitsAllocated}`,
    );
  if (photometric === "YBR_FULL_422" && coding === "native" && columns % 2 !== 0)
    throw new UnsupportedDicomError("it has an odd number of columns, where two share a colour");
  return {
    rows,
    columns,
    samples: expected,
    bitsAllocated,
    bitsStored,
    highBit,
    signed: dataSet.number("pixelRepresentation") === 1,
    planar: expected === 3 && dataSet.number("planarConfiguration") === 1,
    photometric,
    ...(photometric === "PALETTE COLOR" && { palette: readPalette(dataSet) }),
  };
}

/** An error for progressive or arithmetic coding. */
export function unsupportedJpegError(bits: number): UnsupportedDicomError {
  return new UnsupportedDicomError(
    `its JPEG frames have ${bits} bits in a coding that is not supported; convert it to JPEG-LS`,
  );
}

/** Samples per pixel of the result. */
export function outputSamples({ samples, palette }: PixelFormat): number {
  return palette ? 3 : samples;
}

export function formatDtype({ bitsAllocated, signed }: PixelFormat): DType {
  return `${signed ? "int" : "uint"}${bitsAllocated}`;
}

/** Bytes of a native frame. */
export function frameBytes({ rows, columns, samples, bitsAllocated, photometric }: PixelFormat): number {
  if (photometric === "YBR_FULL_422") return rows * columns * 2;
  return rows * columns * samples * (bitsAllocated / 8);
}

/** Bytes of a decoded frame. */
export function decodedBytes(format: PixelFormat): number {
  const { rows, columns, bitsAllocated } = format;
  return rows * columns * outputSamples(format) * (bitsAllocated / 8);
}

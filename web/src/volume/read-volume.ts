import { product, type SampleArray } from "../../../src/tiling/grid/raster.ts";
import { niftiImageHeader } from "../../../src/writers/nifti/nifti-header.ts";
import type { ImageClient } from "../data/image-client.ts";
import type { VolumeGrid } from "./volume-grid.ts";

/** Sample types that are kept; wider ones become float32. */
const KEPT = { uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, float32: Float32Array } as const;
type KeptType = keyof typeof KEPT;

export interface ReadVolumeOptions {
  dtype: string;
  /** Samples are labels, which viewers must not interpolate. */
  isLabel?: boolean;
  signal: AbortSignal;
  /** Share that has been read, 0 to 1. */
  onProgress(part: number): void;
}

/**
 * Reads the samples of a grid slice by slice, so that a gzip file is inflated once, as a NIfTI file in memory. Of several
 * channels it takes the first; colour stays colour.
 */
export async function readVolume(
  client: ImageClient,
  { level, step, shape, affine }: VolumeGrid,
  { dtype, isLabel, signal, onProgress }: ReadVolumeOptions,
): Promise<ArrayBuffer> {
  const { report } = await client.opened;
  const [depth, height, width] = shape as [number, number, number];
  const stored = report.levels[level]!.shape;
  const isColor = dtype === "uint8" && report.channels.length === 3;
  const type: KeptType = dtype in KEPT ? (dtype as KeptType) : "float32";
  const kept = isColor ? 3 : 1;
  const header = niftiImageHeader({ shape, affine, type: isColor ? "rgb24" : type, isLabel });
  const Samples = KEPT[type];
  const file = new ArrayBuffer(header.length + product(shape) * kept * Samples.BYTES_PER_ELEMENT);
  new Uint8Array(file).set(header);
  const out = new Samples(file, header.length);
  const [stepZ, stepY, stepX] = step as [number, number, number];
  for (let z = 0; z < depth; z++) {
    const { data, channels } = await client.readSamples(
      { level, origin: [z * stepZ, 0, 0], size: [1, stored[1]!, stored[2]!] },
      signal,
    );
    const slice = { data, channels, kept, width: stored[2]!, stepY, stepX };
    thinSlice(out, z * height * width * kept, slice, width, height);
    onProgress((z + 1) / depth);
  }
  return file;
}

function thinSlice(
  out: SampleArray,
  at: number,
  slice: { data: SampleArray; channels: number; kept: number; width: number; stepY: number; stepX: number },
  width: number,
  height: number,
): void {
  const { data, channels, kept, stepY, stepX } = slice;
  let to = at;
  for (let y = 0; y < height; y++) {
    let from = y * stepY * slice.width * channels;
    for (let x = 0; x < width; x++, from += stepX * channels)
      for (let c = 0; c < kept; c++) out[to++] = data[from + c]!;
  }
}

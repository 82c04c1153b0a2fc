import type { ImageSource } from "../image/image-source.ts";
import { type OpenOptions, openImage } from "../image/open-image.ts";
import { JobError } from "../orchestrator/errors.ts";
import { locate } from "../storage/locate.ts";
import type { Raster } from "../tiling/raster.ts";

export interface OpenedSource {
  source: ImageSource;
  name: string;
  close(): Promise<void>;
}

/**
 * Opens what a person typed.
 * @param how what the file leaves open: number of the DICOM series, meaning of the pages of a TIFF
 */
export async function openSource(
  uri: string,
  mpp: number | undefined,
  signal?: AbortSignal,
  how: Pick<OpenOptions, "series" | "pagesAs"> = {},
): Promise<OpenedSource> {
  const { series, pagesAs } = how;
  const located = await locate(uri).catch((cause) => {
    // What was typed is no address: a fault of the command, not of a file.
    throw cause instanceof TypeError ? new JobError(cause.message, { cause }) : cause;
  });
  try {
    const source = await openImage(located.store, located.key, { mpp, series, pagesAs, signal });
    return {
      source,
      name: located.name,
      close: async () => {
        await source.close();
        await located.close();
      },
    };
  } catch (error) {
    await located.close();
    throw error;
  }
}

const MASK_SAMPLES = 64 << 20;

/** A mask of any resolution as 0 and 1: its finest level that is small enough to hold. */
export async function readMask(
  uri: string,
  signal: AbortSignal | undefined,
): Promise<{ raster: Raster<Uint8Array>; etag: string }> {
  const { source, close } = await openSource(uri, 1, signal);
  try {
    const level = source.levels.findIndex((l) => l.shape.reduce((p, n) => p * n, 1) <= MASK_SAMPLES);
    if (level < 0 || source.axes !== "yx") {
      throw new JobError(
        `the mask ${uri} is too large: save it with at most ${MASK_SAMPLES >> 20} megapixels`,
      );
    }
    const size = source.levels[level]!.shape;
    const { data } = await source.readRegion(level, { origin: [0, 0], size }, { signal });
    const channels = source.channels.length;
    const set = new Uint8Array(data.length / channels);
    for (let i = 0; i < set.length; i++) {
      for (let c = 0; c < channels; c++) if (data[i * channels + c]! > 0) set[i] = 1;
    }
    return { raster: { data: set, shape: size }, etag: source.etag };
  } finally {
    await close();
  }
}

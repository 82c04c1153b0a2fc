import type { ImageSource } from "../image/image-source.ts";
import { JobError } from "../orchestrator/errors.ts";
import { type OpenOptions, openImage } from "../readers/open-image.ts";
import { openAddress } from "../storage/open-address.ts";

export interface OpenedSource {
  source: ImageSource;
  name: string;
  close(): Promise<void>;
}

/**
 * Opens an image by the path or address that the user gave.
 * @param how choices that a file may leave open: DICOM series, volume of a NIfTI series, meaning of the pages of a TIFF
 */
export async function openSource(
  uri: string,
  mpp: number | undefined,
  signal?: AbortSignal,
  how: Pick<OpenOptions, "series" | "time" | "pagesAs"> = {},
): Promise<OpenedSource> {
  const { series, time, pagesAs } = how;
  const located = await openAddress(uri).catch((cause) => {
    // An invalid address is an error of the command, not of a file.
    throw cause instanceof TypeError ? new JobError(cause.message, { cause }) : cause;
  });
  try {
    const source = await openImage(located.store, located.key, { mpp, series, time, pagesAs, signal });
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

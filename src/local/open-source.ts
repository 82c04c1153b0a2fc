import { type OpenedSource, openSourceInput, type SourceChoices } from "../portable/open-source.ts";
import { openAddress } from "../storage/open-address.ts";

/**
 * Opens an image by the path or address that the user gave.
 * @param choices what a file may leave open: DICOM series, volume of a NIfTI series, meaning of the pages of a TIFF
 */
export function openSource(
  uri: string,
  mpp: number | undefined,
  signal?: AbortSignal,
  choices: Omit<SourceChoices, "mpp"> = {},
): Promise<OpenedSource> {
  return openSourceInput(uri, openAddress, { ...choices, mpp, signal });
}

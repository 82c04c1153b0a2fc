import { JobError } from "../orchestrator/errors.ts";
import { type Mask, readMaskInput } from "../portable/read-mask.ts";
import { openAddress } from "../storage/open-address.ts";
import { parseSourceAddress } from "../storage/source-address.ts";

/**
 * Parses the value of `--mask`.
 * @throws {JobError} if it is not an address
 */
export function maskAddress(typed: string): string {
  if (typed.trim() === "") throw new JobError("--mask is empty: name an image or polygons, or leave it out");
  try {
    parseSourceAddress(typed);
    return typed;
  } catch (cause) {
    throw new JobError(`--mask: ${(cause as Error).message}`, { cause });
  }
}

/** Reads a mask by its path or address. @param shape of level 0 of the slide, `[height, width]` */
export async function readMask(
  uri: string,
  shape: readonly number[],
  signal: AbortSignal | undefined,
): Promise<Mask> {
  return readMaskInput(maskAddress(uri), shape, openAddress, signal);
}

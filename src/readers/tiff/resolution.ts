import type { Spacing } from "../../image/image-source.ts";
import { plausibleSpacing } from "../../image/spacing.ts";
import type { TiffDirectory } from "./directory.ts";
import { TAG } from "./tags.ts";

const MICROMETERS_PER_UNIT: Record<number, number> = { 2: 25_400, 3: 10_000 };

/** Spacing `[y, x]` from the resolution tags; undefined without a unit, or when no microscope has it. */
export async function resolutionSpacing(
  directory: TiffDirectory,
  signal?: AbortSignal,
): Promise<Spacing | undefined> {
  const unit = MICROMETERS_PER_UNIT[(await directory.number(TAG.resolutionUnit, signal)) ?? 2];
  const x = await directory.rational(TAG.xResolution, signal);
  const y = await directory.rational(TAG.yResolution, signal);
  if (unit === undefined || !x || !y) return undefined;
  return plausibleSpacing(unit / y, unit / x);
}

import type { Spacing } from "../image-source.ts";
import type { TiffDirectory } from "./directory.ts";
import { TAG } from "./tags.ts";

/**
 * Micrometres per pixel a microscope can have. Print resolutions (72 dpi is 353 µm) are written by default into
 * files of every origin and say nothing of the specimen.
 */
const PLAUSIBLE_MPP = { min: 0.01, max: 30 };

const MICROMETERS_PER_UNIT: Record<number, number> = { 2: 25_400, 3: 10_000 };

/** Spacing `[y, x]` from the resolution tags; undefined without a unit, or when it cannot be a microscope's. */
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

/** Micrometres per pixel as a spacing, when a microscope can have it. */
export function plausibleSpacing(y: number, x: number): Spacing | undefined {
  const ok = [y, x].every((v) => v >= PLAUSIBLE_MPP.min && v <= PLAUSIBLE_MPP.max);
  return ok ? { values: [y, x], unit: "micrometer" } : undefined;
}

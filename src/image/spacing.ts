import type { Spacing } from "./image-source.ts";

/**
 * Micrometres per pixel that a microscope can have. Programs write print resolutions by default (72 dpi is 353 µm,
 * 300 dpi 85 µm); these say nothing about the specimen.
 */
const PLAUSIBLE_MPP = { min: 0.01, max: 30 };

/** Micrometres per pixel as a spacing; undefined if no microscope has it. */
export function plausibleSpacing(y: number, x: number): Spacing | undefined {
  const ok = [y, x].every((v) => v >= PLAUSIBLE_MPP.min && v <= PLAUSIBLE_MPP.max);
  return ok ? { values: [y, x], unit: "micrometer" } : undefined;
}

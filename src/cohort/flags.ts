import type { SlideMetrics } from "./slide-metrics.ts";

/** A larger robust score is an outlier (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993). */
export const OUTLIER_Z = 3.5;
/** With fewer slides no outliers are reported. */
export const LEAST_SLIDES = 8;
export const LITTLE_TISSUE = 0.01;
export const FEW_WINDOWS = 4;
/** Relative deviation of the pixel size from the cohort's median. */
export const OTHER_SPACING = 0.1;

export type Flag =
  | "little-tissue"
  | "seam-outlier"
  | "focus-outlier"
  | "intensity-outlier"
  | "other-spacing"
  | "out-of-domain"
  | "check-tissue"
  | "source-gone"
  | "source-not-checked";

/** Meaning of each flag, for the report and the documents. */
export const FLAG_RULES: Record<Flag, string> = {
  "little-tissue": `tissue on less than ${LITTLE_TISSUE * 100} % of the region, or fewer than ${FEW_WINDOWS} windows`,
  "seam-outlier": `seam score more than ${OUTLIER_Z} robust deviations above the cohort's median`,
  "focus-outlier": `focus more than ${OUTLIER_Z} robust deviations from the cohort's median`,
  "intensity-outlier": `mean intensity more than ${OUTLIER_Z} robust deviations from the cohort's median`,
  "other-spacing": `pixel size more than ${OTHER_SPACING * 100} % from the cohort's median`,
  "out-of-domain":
    "unlike the images that the model was trained on: see domain_distance, 1 is as far as those reach",
  "check-tissue": "part of what was left out as background may be tissue, or almost nothing was kept",
  "source-gone": "the source is not where it was when it was segmented",
  "source-not-checked": "the source could not be reached to see whether it is still the same",
};

/**
 * Robust score 0.6745 (x − median) / MAD; undefined for fewer than `LEAST_SLIDES` values, or if more than half are
 * equal.
 */
export function robustScores(values: readonly (number | undefined)[]): (number | undefined)[] {
  const known = values.filter((v) => v !== undefined && Number.isFinite(v)) as number[];
  const middle = median(known);
  const spread = median(known.map((v) => Math.abs(v - middle)));
  if (known.length < LEAST_SLIDES || spread === 0) return values.map(() => undefined);
  return values.map((v) =>
    v === undefined || !Number.isFinite(v) ? undefined : (0.6745 * (v - middle)) / spread,
  );
}

/** Flags of each slide, compared with the others; none without metrics. */
export function flagSlides(slides: readonly (SlideMetrics | undefined)[]): Flag[][] {
  const seam = robustScores(slides.map((s) => s?.seamScore));
  const focus = robustScores(slides.map((s) => s?.focus));
  const intensity = robustScores(slides.map((s) => s?.intensity));
  const spacings = slides.flatMap((s) => s?.mpp ?? []);
  const spacing = median(spacings);
  return slides.map((slide, i) => {
    const flags: Flag[] = [];
    if (!slide) return flags;
    const { tissueFraction, windows, mpp } = slide;
    if ((tissueFraction !== undefined && tissueFraction < LITTLE_TISSUE) || windows < FEW_WINDOWS)
      flags.push("little-tissue");
    if ((seam[i] ?? 0) > OUTLIER_Z) flags.push("seam-outlier");
    if (Math.abs(focus[i] ?? 0) > OUTLIER_Z) flags.push("focus-outlier");
    if (Math.abs(intensity[i] ?? 0) > OUTLIER_Z) flags.push("intensity-outlier");
    if (slide.outOfDomain) flags.push("out-of-domain");
    if (slide.tissueWarning) flags.push("check-tissue");
    if (mpp !== undefined && Math.abs(mpp / spacing - 1) > OTHER_SPACING) flags.push("other-spacing");
    return flags;
  });
}

export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

import { statSync } from "node:fs";
import { findRows, isGlob } from "../../cohort/find-rows.ts";
import { type CohortForecast, forecastCohort, type PlannedScan, plannedScan } from "../../cohort/forecast.ts";
import type { CohortRow } from "../../cohort/manifest-rows.ts";
import { classifySlideFailure } from "../../cohort/slide-failure.ts";
import { reservedColumnNames, tableShape } from "../../cohort/table.ts";
import { ImageFormatError } from "../../image/errors.ts";
import { timeWindow } from "../../local/benchmark-inference.ts";
import { openSource } from "../../local/open-source.ts";
import type { SlideOptions } from "../../local/options.ts";
import { readMask } from "../../local/read-mask.ts";
import { loadModel } from "../../local/resolve-model.ts";
import { planJob } from "../../orchestrator/plan/plan-job.ts";
import { parseJobSettings } from "../../portable/run-options.ts";
import { printCosts } from "../terminal/print-costs.ts";

/** Default number of scans that are opened. */
const SAMPLE = 20;

/** Forecasts a cohort: opens and plans a sample of its scans, evenly spaced, and times the model on this machine. */
export async function planCohort(
  options: SlideOptions & { sample?: number; encoding?: string },
): Promise<CohortForecast> {
  const { signal, sample = SAMPLE } = options;
  const model = await loadModel(options.model, { variant: options.variant, signal });
  const settings = parseJobSettings(options);
  const { rows } = await findRows(options.source, reservedColumnNames(tableShape(model)), "", {
    encoding: options.encoding,
    signal,
  });
  const count = Math.min(sample, rows.length);
  const chosen = Array.from({ length: count }, (_, i) => rows[Math.floor((i * rows.length) / count)]!);
  const plans: PlannedScan[] = [];
  const unplanned: { id: string; code: string; reason: string }[] = [];
  const planOne = async ({ source: address, mpp, mask }: CohortRow): Promise<PlannedScan> => {
    const { source, close } = await openSource(address, mpp ?? options.mpp, signal, options);
    try {
      const maskUri = mask ?? options.mask;
      const read =
        maskUri === undefined ? undefined : await readMask(maskUri, source.levels[0]!.shape, signal);
      const plan = await planJob(source, model.manifest, settings, { mask: read?.raster, signal });
      return plannedScan(source, plan);
    } finally {
      await close();
    }
  };
  for (const row of chosen) {
    try {
      plans.push(await planOne(row));
    } catch (error) {
      signal?.throwIfAborted();
      const failure = classifySlideFailure(error, [row.source, row.mask ?? options.mask]);
      if (!failure) throw error;
      unplanned.push({ id: row.id, ...failure });
    }
  }
  const { seconds, threads } = await timeWindow(model, options.threads, signal);
  return forecastCohort(rows.length, plans, unplanned, { secondsPerWindow: seconds, cores: threads });
}

/**
 * Whether a source names a cohort: a manifest, a pattern, a prefix, or a folder that is not an image itself (OME-Zarr, DICOM
 * series).
 */
export async function namesCohort(source: string, signal: AbortSignal | undefined): Promise<boolean> {
  if (/\.csv$/i.test(source) || (/^s3:\/\//i.test(source) ? source.endsWith("/") : isGlob(source)))
    return true;
  if (!statSync(source, { throwIfNoEntry: false })?.isDirectory()) return false;
  try {
    await (await openSource(source, undefined, signal)).close();
    return false;
  } catch (error) {
    if (error instanceof ImageFormatError) return true;
    throw error;
  }
}

export function printForecast(name: string, forecast: CohortForecast): void {
  const { scans, planned, windows, bytes, backends, unplanned, pricesOf } = forecast;
  console.log(`${name}: ${scans} scans, ${planned} of them opened`);
  console.log(`  windows   about ${windows}`);
  console.log(`  reading   about ${Math.round(bytes / 1e6)} MB`);
  printCosts({ backends, pricesOf });
  for (const { id, code, reason } of unplanned) console.log(`  ${id}: ${code}: ${reason}`);
}

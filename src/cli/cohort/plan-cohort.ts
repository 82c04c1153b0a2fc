import { planJob } from "../../orchestrator/plan-job.ts";
import { product } from "../../tiling/raster.ts";
import { planShards } from "../../tiling/shards.ts";
import { loadModel } from "../find-model.ts";
import { openSource } from "../open-source.ts";
import { timeWindow } from "../plan.ts";
import { duration } from "../progress.ts";
import { readMask } from "../read-mask.ts";
import { type SegmentOptions, settingsOf } from "../segment.ts";
import { findRows } from "./find-rows.ts";
import { type CohortForecast, forecastCohort, type PlannedScan } from "./forecast.ts";
import type { CohortRow } from "./manifest-rows.ts";
import { usd } from "./report.ts";
import { shapeOf } from "./run-cohort.ts";
import { slideFailure } from "./slide-failure.ts";
import { takenNames } from "./table.ts";

/** Scans that are opened unless asked for more: enough for a forecast, and soon done. */
const SAMPLE = 20;

/** What a cohort will take: some of its scans, evenly apart, are opened and planned, the model is timed here. */
export async function planCohort(
  options: Omit<SegmentOptions, "out"> & { sample?: number; encoding?: string },
): Promise<CohortForecast> {
  const { signal, sample = SAMPLE } = options;
  const model = await loadModel(options.model, { variant: options.variant, signal });
  const settings = settingsOf(options);
  const { rows } = await findRows(options.source, takenNames(shapeOf(model)), "", {
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
      // Of what is stored, the level's share by samples, and of that the windows' share.
      const samples = source.levels.map((level) => product(level.shape));
      const share = samples[plan.level]! / samples.reduce((a, b) => a + b);
      const kept = plan.kept.size / plan.kept.length;
      const region = product((plan.output ?? plan).region.size) / samples[plan.level]!;
      return {
        windows: plan.kept.size,
        shards: [...planShards(plan.grid, plan.kept, plan.shardBlock)].length,
        bytes: source.byteLength * share * Math.min(1, kept * region),
      };
    } finally {
      await close();
    }
  };
  for (const row of chosen) {
    try {
      plans.push(await planOne(row));
    } catch (error) {
      signal?.throwIfAborted();
      const failure = slideFailure(error, [row.source, row.mask ?? options.mask]);
      if (!failure) throw error;
      unplanned.push({ id: row.id, ...failure });
    }
  }
  const { seconds, threads } = await timeWindow(model, options.concurrency, signal);
  return forecastCohort(rows.length, plans, unplanned, { secondsPerWindow: seconds, cores: threads });
}

export function printForecast(name: string, forecast: CohortForecast): void {
  const { scans, planned, windows, bytes, backends, unplanned, pricesOf } = forecast;
  console.log(`${name}: ${scans} scans, ${planned} of them looked at`);
  console.log(`  windows   about ${windows}`);
  console.log(`  reading   about ${Math.round(bytes / 1e6)} MB`);
  for (const { backend, seconds, usd: amount, assumes } of backends) {
    console.log(`  ${backend.padEnd(8)}  about ${duration(seconds)}, ${usd(amount)}`);
    console.log(`            (${assumes})`);
  }
  console.log(`  prices of ${pricesOf}; storage and transfer are left out`);
  for (const { id, code, reason } of unplanned) console.log(`  ${id}: ${code}: ${reason}`);
}

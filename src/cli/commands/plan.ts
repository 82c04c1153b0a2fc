import { forecastCohort, plannedScan } from "../../cohort/forecast.ts";
import { OrtNodeSegmenter } from "../../inference/node/ort-node.ts";
import { secondsPerWindow } from "../../local/benchmark-inference.ts";
import { duration } from "../../local/format.ts";
import { openSource } from "../../local/open-source.ts";
import { readMask } from "../../local/read-mask.ts";
import { loadModel } from "../../local/resolve-model.ts";
import { parseJobSettings, type SegmentOptions } from "../../local/segment.ts";
import type { ModelPackage } from "../../model-package/load-package.ts";
import { planWarnings } from "../../orchestrator/manifest/run-manifest.ts";
import { estimateMemory, matchImageToModel, planJob } from "../../orchestrator/plan/plan-job.ts";
import { planShards } from "../../tiling/grid/shards.ts";
import { printCosts } from "../terminal/print-costs.ts";
import { magnified, orientationLine, tissueText } from "../terminal/progress.ts";

/** Windows, tissue, memory and time of a job. The time comes from running the golden tile here and now. */
export async function planCommand(options: SegmentOptions, json: boolean | undefined): Promise<void> {
  const { signal } = options;
  const model = await loadModel(options.model, { variant: options.variant, signal });
  const { source, name, close } = await openSource(options.source, options.mpp, signal, options);
  try {
    const mask =
      options.mask !== undefined ? await readMask(options.mask, source.levels[0]!.shape, signal) : undefined;
    const settings = parseJobSettings(options);
    const plan = await planJob(source, model.manifest, settings, { mask: mask?.raster, signal });
    const { magnification } = matchImageToModel(source, model.manifest, settings);
    const { seconds, threads } = await timeWindow(model, options.concurrency, signal);
    const secondsOfWindow = seconds / threads;
    const { backends, pricesOf } = forecastCohort(1, [plannedScan(source, plan)], [], {
      secondsPerWindow: seconds,
      cores: threads,
    });
    const report = {
      source: name,
      model: `${model.manifest.name} ${model.manifest.version} ${model.variantName}`,
      level: plan.level,
      mpp: plan.mpp.at(-1)!,
      magnification,
      regionSize: (plan.output ?? plan).region.size,
      window: plan.grid.window,
      modelWindow: plan.modelWindow,
      windows: plan.kept.size,
      windowsInGrid: plan.kept.length,
      shards: [...planShards(plan.grid, plan.kept, plan.shardBlock)].length,
      tissueFraction: plan.tissueFraction,
      tissue: plan.tissue,
      domain: plan.domain,
      warnings: planWarnings(plan, source),
      orientation: plan.orientation,
      intensities: plan.scaling,
      memoryBytes: estimateMemory(plan, model.manifest.classes.length),
      secondsPerWindow: secondsOfWindow,
      seconds: secondsOfWindow * plan.kept.size,
      backends,
      pricesOf,
    };
    if (json) return void process.stdout.write(`${JSON.stringify(report)}\n`);
    const tissue = tissueText(plan) || "no mask";
    const resampled =
      plan.grid.window.join() === plan.modelWindow.join()
        ? ""
        : `, resampled to ${plan.modelWindow.join("×")}${magnified(magnification)}`;
    console.log(`${name}, ${report.model}`);
    console.log(
      `  level     ${plan.level}, ${report.mpp.toPrecision(4)} µm, ${report.regionSize.toReversed().join("×")} pixels`,
    );
    console.log(
      `  windows   ${report.windows} of ${report.windowsInGrid} (${tissue}), ${plan.grid.window.join("×")} pixels${resampled}`,
    );
    if (plan.orientation) console.log(`  volume    ${orientationLine(plan.orientation)}`);
    for (const warning of report.warnings) console.log(`  warning   ${warning}`);
    console.log(`  shards    ${report.shards}`);
    console.log(`  memory    about ${Math.round(report.memoryBytes / 1e6)} MB`);
    console.log(
      `  time      about ${duration(report.seconds)} (${(secondsOfWindow * 1000).toFixed(0)} ms a window on this machine)`,
    );
    printCosts(report);
  } finally {
    await close();
  }
}

/** Seconds of one window on one thread: the golden tile, after it has proven the runtime. */
export async function timeWindow(
  model: ModelPackage,
  threads: number | undefined,
  signal: AbortSignal | undefined,
): Promise<{ seconds: number; threads: number }> {
  const segmenter = await OrtNodeSegmenter.create(model, { threads });
  try {
    const seconds = await secondsPerWindow(segmenter, model, signal);
    return { seconds, threads: segmenter.info.threads };
  } finally {
    await segmenter.close();
  }
}

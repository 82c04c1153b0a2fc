import { forecastCohort, plannedScan } from "../../cohort/forecast.ts";
import { timeWindow } from "../../local/benchmark-inference.ts";
import { duration } from "../../local/format.ts";
import { openSource } from "../../local/open-source.ts";
import type { SlideOptions } from "../../local/options.ts";
import { readMask } from "../../local/read-mask.ts";
import { loadModel } from "../../local/resolve-model.ts";
import { planJob } from "../../orchestrator/plan/plan-job.ts";
import { describePlan } from "../../portable/describe-plan.ts";
import { parseJobSettings } from "../../portable/run-options.ts";
import type { AddCommand } from "../options/context.ts";
import { parseCount } from "../options/parsers.ts";
import { type PlanFlags, threadsOption, toPlanOptions, withPlanOptions } from "../options/shared-options.ts";
import { printCosts } from "../terminal/print-costs.ts";
import { magnified, orientationLine, tissueText } from "../terminal/progress.ts";
import { namesCohort, planCohort, printForecast } from "./plan-cohort.ts";

interface PlanCommandFlags extends PlanFlags {
  threads?: number;
  encoding?: string;
  sample?: number;
  json?: boolean;
}

export const addPlanCommand: AddCommand = (program, { signal }) => {
  withPlanOptions(
    program
      .command("plan <source>")
      .description(
        "windows, tissue, memory, time and cost, without segmenting: of one image, or of what cohort run takes",
      ),
  )
    .addOption(threadsOption())
    .option("--encoding <name>", "encoding of a manifest, for instance latin1; default UTF-8")
    .option(
      "--sample <n>",
      "of a cohort: number of scans that are opened for the forecast; default 20",
      parseCount,
    )
    .option("--json", "as JSON")
    .action(async (source: string, flags: PlanCommandFlags) => {
      const { threads, sample, encoding } = flags;
      const options = { ...toPlanOptions(flags), source, threads, signal };
      if (!(await namesCohort(source, signal))) return planImage(options, flags.json);
      const forecast = await planCohort({ ...options, sample, encoding });
      if (flags.json) return void process.stdout.write(`${JSON.stringify(forecast)}\n`);
      printForecast(source, forecast);
    });
};

/** Prints windows, tissue, memory, time and cost of a job. The time is measured with the golden tile on this machine. */
async function planImage(options: SlideOptions, json: boolean | undefined): Promise<void> {
  const { signal } = options;
  const model = await loadModel(options.model, { variant: options.variant, signal });
  const { source, name, close } = await openSource(options.source, options.mpp, signal, options);
  try {
    const mask =
      options.mask !== undefined ? await readMask(options.mask, source.levels[0]!.shape, signal) : undefined;
    const settings = parseJobSettings(options);
    const plan = await planJob(source, model.manifest, settings, { mask: mask?.raster, signal });
    const { seconds, threads } = await timeWindow(model, options.threads, signal);
    const secondsOfWindow = seconds / threads;
    const { backends, pricesOf } = forecastCohort(1, [plannedScan(source, plan)], [], {
      secondsPerWindow: seconds,
      cores: threads,
    });
    const report = {
      ...describePlan(plan, source, name, model, settings),
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
        : `, resampled to ${plan.modelWindow.join("×")}${magnified(report.magnification)}`;
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

import type { SegmentationType } from "../../image/output-targets.ts";
import { duration } from "../../local/format.ts";
import { segment } from "../../local/segment.ts";
import type { AddCommand } from "../options/context.ts";
import {
  type PlanFlags,
  type RunFlags,
  segEncodingOption,
  toPlanOptions,
  withPlanOptions,
  withRunOptions,
} from "../options/shared-options.ts";
import { printResults } from "../terminal/print-results.ts";
import { progressPrinter } from "../terminal/progress.ts";

interface SegmentFlags extends PlanFlags, RunFlags {
  out: string;
  segEncoding?: SegmentationType;
  likeService?: boolean;
  resume?: boolean;
  force?: boolean;
  json?: boolean;
}

export const addSegmentCommand: AddCommand = (program, { signal }) => {
  withRunOptions(withPlanOptions(program.command("segment <source>").description("segment one image")))
    .requiredOption("--out <dir>", "directory for the results")
    .addOption(segEncodingOption())
    .option(
      "--like-service",
      "compute as a service's edge functions do, to the same bytes: slower than the default",
    )
    .option("--resume", "continue an interrupted run")
    .option("--force", "replace a finished run or drop unfinished work")
    .option("--json", "progress as JSON lines on stderr, the run manifest on stdout")
    .action(async (source: string, flags: SegmentFlags) => {
      const { out, likeService, resume, force, batchSize } = flags;
      const manifest = await segment({
        ...toPlanOptions(flags),
        ...{ source, out, likeService, resume, force, batchSize, signal },
        outputs: flags.outputs?.split(","),
        segType: flags.segEncoding,
        threads: flags.threads,
        backends: flags.backend,
        onProgress: progressPrinter(Boolean(flags.json)),
      });
      if (flags.json) return void process.stdout.write(`${JSON.stringify(manifest)}\n`);
      printResults(out, manifest);
      console.log(`${manifest.plan.windows} windows in ${duration(manifest.seconds.total!)}`);
    });
};

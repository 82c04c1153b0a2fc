import type { PlannedJob } from "../../../contracts/job-plan-message.ts";
import type { ImageSource } from "../../../image/image-source.ts";
import { createRunManifest, type RunManifest } from "../../../orchestrator/manifest/run-manifest.ts";
import type { OutputsReport } from "../../../orchestrator/outputs/outputs-options.ts";
import type { ImageQuality } from "../../../orchestrator/plan/image-quality.ts";
import type { Coverage } from "../../../tiling/grid/coverage.ts";
import type { Ledger } from "../../shared/ledger-port.ts";
import type { Bindings } from "../context/bindings.ts";
import { estimateCost } from "./estimate-cost.ts";

/** Creates `run.json` of a job from the ledger, in the format of a run on one machine. */
export async function describeRun(
  env: Bindings,
  run: {
    planned: PlannedJob;
    source: ImageSource;
    coverage: Coverage;
    classes: number;
    report: OutputsReport;
    quality: ImageQuality;
    ledger: Ledger;
  },
): Promise<RunManifest> {
  const { source, coverage, report, quality, ledger } = run;
  const { job, plan } = run.planned;
  const [planning, shards, merges] = await Promise.all([
    ledger.totals("plan"),
    ledger.totals("shard"),
    ledger.totals("merge"),
  ]);
  const finishedAt = new Date();
  const merged = shards.report.windows ?? 0;
  if (merged !== plan.kept.size) {
    throw new Error(`the ledger counts ${merged} windows, the plan has ${plan.kept.size}`);
  }
  return createRunManifest(
    {
      job: job.id,
      tilewright: job.tilewright,
      startedAt: job.createdAt,
      source,
      sourceName: job.source.name,
      model: job.model,
      settings: job.request.settings,
      plan,
      shards: shards.total,
      coverage,
      seam: merges.report.merge,
      report,
      quality,
    },
    {
      finishedAt: finishedAt.toISOString(),
      backends: [
        {
          model: job.model.name,
          variant: job.model.variant,
          runtime: shards.report.runtime ?? "edge function",
          threads: 1,
          classes: run.classes,
          window: plan.modelWindow,
          channels: plan.channels.length,
          windows: merged,
          bytesRead: shards.report.bytesRead,
        },
      ],
      attempts: 1,
      bytesRead: (planning.report.bytesRead ?? 0) + (shards.report.bytesRead ?? 0) + source.bytesRead,
      seconds: {
        total: (finishedAt.getTime() - Date.parse(job.createdAt)) / 1000,
        model: (shards.report.modelMilliseconds ?? 0) / 1000,
      },
      estimatedCost: estimateCost(env, {
        windows: merged,
        tasks: shards.total + merges.total + 2,
        shards: shards.total,
        merges: merges.total,
        chunks: coverage.chunks.size,
      }),
    },
  );
}

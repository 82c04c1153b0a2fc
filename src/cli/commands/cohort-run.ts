import { Option } from "commander";
import { DOWNLOADS, type Download } from "../../cohort/cohort-snapshot.ts";
import { runRemoteCohort } from "../../cohort/remote/run-remote-cohort.ts";
import { runCohort } from "../../cohort/run-cohort.ts";
import { JobError } from "../../orchestrator/errors.ts";
import type { AddCommand } from "../options/context.ts";
import { parseCount, parsePositive } from "../options/parsers.ts";
import {
  type PlanFlags,
  type RunFlags,
  resolveToken,
  toPlanOptions,
  withPlanOptions,
  withRunOptions,
} from "../options/shared-options.ts";
import { cohortPrinter } from "../terminal/cohort-progress.ts";
import { printEventAsJson, reportCohort } from "../terminal/print-cohort.ts";

export const SERVICE_TOKEN = "bearer token of the job service; default the environment's TILEWRIGHT_TOKEN";

interface CohortRunFlags extends PlanFlags, RunFlags {
  out: string;
  store?: string;
  parallelSlides?: number;
  largestFirst?: boolean;
  encoding?: string;
  restart?: boolean;
  server?: string;
  token?: string;
  maxCost?: number;
  download?: Download;
  json?: boolean;
}

export const addCohortRunCommand: AddCommand = (cohort, { signal, setResumeHint }) => {
  withRunOptions(
    withPlanOptions(
      cohort
        .command("run <scans>")
        .description(
          "segment every scan of a manifest (CSV), a folder, a pattern or s3://bucket/prefix, or continue",
        ),
    ),
  )
    .requiredOption("--out <dir>", "directory for state, tables and results")
    .option(
      "--store <dir>",
      "directory of the results of single scans; cohorts can share it; default jobs in --out",
    )
    .option(
      "--parallel-slides <n>",
      "scans in progress at a time; default 2, and 10 at a service",
      parseCount,
    )
    .option("--largest-first", "begin with the largest files")
    .option("--encoding <name>", "encoding of the manifest, for instance latin1; default UTF-8")
    .option("--restart", "segment every scan again after settings have changed; removes the earlier results")
    .option("--server <url>", "address of a job service that segments the scans; local files are uploaded")
    .option("--token <token>", SERVICE_TOKEN)
    .option(
      "--max-cost <usd>",
      "with --server: start no scan that would raise the total cost above this",
      parsePositive,
    )
    .addOption(
      new Option(
        "--download <what>",
        "with --server: what is downloaded of each scan; default what the tables need",
      ).choices(DOWNLOADS),
    )
    .option("--json", "progress as JSON lines on stderr, the totals on stdout")
    .action(async (scans: string, flags: CohortRunFlags) => {
      setResumeHint("continue later with the same command");
      const options = toCohortOptions(scans, flags, signal);
      const { server, token, maxCost, download } = flags;
      if (server === undefined) {
        if (maxCost !== undefined) throw new JobError("--max-cost needs --server");
        if (download !== undefined) throw new JobError("--download needs --server");
        return reportCohort(await runCohort(options), Boolean(flags.json));
      }
      const access = { server, token: resolveToken({ server, token }) };
      const result = await runRemoteCohort({ ...options, ...access, spendLimitUsd: maxCost, download });
      reportCohort(result, Boolean(flags.json));
    });
};

function toCohortOptions(scans: string, flags: CohortRunFlags, signal: AbortSignal) {
  const { model, ...plan } = toPlanOptions(flags);
  const settings = {
    ...plan,
    outputs: flags.outputs?.split(","),
    threads: flags.threads,
    backends: flags.backend,
    batchSize: flags.batchSize,
  };
  const { out, store, largestFirst, encoding, restart } = flags;
  return {
    // Only options that were given are stored.
    ...(Object.fromEntries(
      Object.entries(settings).filter(([, value]) => value !== undefined),
    ) as typeof settings),
    ...{ model, out, store, largestFirst, encoding, restart, signal },
    cohort: scans,
    parallelSlides: flags.parallelSlides,
    onEvent: flags.json ? printEventAsJson : cohortPrinter(),
  };
}

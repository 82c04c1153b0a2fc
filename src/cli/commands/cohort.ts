import { type Command, Option } from "commander";
import { CohortDirectory, type CohortSnapshot, DOWNLOADS } from "../../cohort/cohort-directory.ts";
import {
  askService,
  cohortClient,
  retryAtService,
  type ServiceAnswer,
} from "../../cohort/remote/remote-status.ts";
import { removeAtService } from "../../cohort/remote/remove-cohort.ts";
import { fetchCloudCohort, runCloudCohort } from "../../cohort/remote/run-remote-cohort.ts";
import { type CohortProgress, type CohortResult, runCohort } from "../../cohort/run-cohort.ts";
import {
  type CohortStatus,
  cancelCohort,
  cohortStatus,
  exportCohort,
  markForRetry,
  watchCohort,
} from "../../cohort/status-cohort.ts";
import { totalsOf } from "../../cohort/totals.ts";
import { EXIT } from "../../exit/exit-status.ts";
import { usd } from "../../local/format.ts";
import type { SegmentOptions } from "../../local/segment.ts";
import { JobError } from "../../orchestrator/errors.ts";
import { cohortPrinter } from "../terminal/cohort-progress.ts";

/** The commands' way to the parts of the command line that every command shares. */
export interface CommandParts {
  withPlanOptions: (command: Command) => Command;
  withRunOptions: (command: Command) => Command;
  // biome-ignore lint/suspicious/noExplicitAny: commander's flags are untyped; each is parsed where it is declared
  planOptions: (source: string, flags: any) => SegmentOptions;
  count: (text: string) => number;
  positive: (text: string) => number;
  tokenOf: (flags: { to: string; token?: string }) => string | undefined;
  signal: AbortSignal;
  toContinue: (how: string) => void;
}

const TOKEN = "bearer token of the job service; default the environment's TILEWRIGHT_TOKEN";

export function addCohortCommands(program: Command, parts: CommandParts): void {
  const { signal, count, positive, toContinue } = parts;
  const cohort = program.command("cohort").description("many scans, one table");
  const resumes = () => toContinue("continue later with the same command");
  /** Where the cohort of a directory runs at a service. */
  const accessOf = ({ service }: CohortSnapshot, flags: { token?: string }) => ({
    token: parts.tokenOf({ to: service!.url, token: flags.token }),
    signal,
  });

  parts
    .withRunOptions(
      parts.withPlanOptions(
        cohort
          .command("run <scans>")
          .description(
            "segment every scan of a manifest (CSV), a folder, a pattern or s3://bucket/prefix, or go on with it",
          ),
      ),
    )
    .requiredOption("--out <dir>", "directory for state, tables and results")
    .option(
      "--store <dir>",
      "directory of the single results; cohorts that share it share them; default jobs in --out",
    )
    .option(
      "--slides-at-once <n>",
      "one maps while others are planned or written; default 2, and 10 at a service",
      count,
    )
    .option("--largest-first", "begin with the largest files")
    .option("--encoding <name>", "encoding of the manifest, for instance latin1; default UTF-8")
    .option("--restart", "segment every scan again when settings have changed; removes the results of before")
    .option("--to <url>", "address of a job service, which then does the work; local files are uploaded")
    .option("--token <token>", TOKEN)
    .option("--spend-limit <usd>", "with --to: begin nothing that would cost more in all", positive)
    .addOption(
      new Option(
        "--download <what>",
        "with --to: what is fetched of each scan; default what the tables are made from",
      ).choices(DOWNLOADS),
    )
    .option("--json", "progress as JSON lines on stderr, the totals on stdout")
    .action(async (scans: string, flags) => {
      resumes();
      const { source: _source, out: _out, ...plan } = parts.planOptions(scans, flags);
      const options = {
        ...plan,
        outputs: flags.outputs?.split(","),
        concurrency: flags.concurrency,
        backends: flags.backend,
        batchSize: flags.batchSize,
      };
      const defined = Object.fromEntries(Object.entries(options).filter(([, v]) => v !== undefined));
      const common = {
        ...(defined as unknown as typeof options),
        cohort: scans,
        out: flags.out,
        store: flags.store,
        slidesAtOnce: flags.slidesAtOnce,
        largestFirst: flags.largestFirst,
        encoding: flags.encoding,
        restart: flags.restart,
        signal,
        onEvent: flags.json ? tellJson : cohortPrinter(),
      };
      if (flags.to === undefined) {
        for (const name of ["spendLimit", "download"] as const) {
          if (flags[name] !== undefined)
            throw new JobError(`--${name === "download" ? name : "spend-limit"} needs --to`);
        }
        return tellResult(await runCohort(common), Boolean(flags.json));
      }
      const { to, spendLimit: spendLimitUsd, download } = flags;
      const cloud = { ...common, to, token: parts.tokenOf(flags), spendLimitUsd, download };
      tellResult(await runCloudCohort(cloud), Boolean(flags.json));
    });

  cohort
    .command("status <dir>")
    .description("how far a cohort is")
    .option("--watch", "until nobody is at it")
    .option("--token <token>", TOKEN)
    .option("--json", "as JSON; with --watch one line for each change")
    .action(async (dir: string, flags) => {
      const snapshot = new CohortDirectory(dir).read();
      if (snapshot.service) {
        const tellAnswer = (answer: ServiceAnswer) =>
          flags.json ? void process.stdout.write(`${JSON.stringify(answer)}\n`) : printAnswer(answer);
        return askService(snapshot, accessOf(snapshot, flags), tellAnswer, Boolean(flags.watch));
      }
      const tell = (status: CohortStatus) =>
        flags.json ? void process.stdout.write(`${JSON.stringify(status)}\n`) : printStatus(status);
      if (flags.watch) return watchCohort(dir, tell, signal);
      tell(cohortStatus(dir));
    });

  cohort
    .command("retry <dir>")
    .description("do failed scans again, as the last run was asked to")
    .option("--failed", "all that failed (the default)")
    .option(
      "--id <id>",
      "only this one; may be given more than once",
      (id: string, before: string[] = []) => [...before, id],
    )
    .option("--token <token>", TOKEN)
    .option("--json", "progress as JSON lines on stderr, the totals on stdout")
    .action(async (dir: string, flags) => {
      resumes();
      const snapshot = new CohortDirectory(dir).read();
      const { cohort: scans, options, store, slidesAtOnce, largestFirst, encoding, service } = snapshot;
      const onEvent = flags.json ? tellJson : cohortPrinter();
      const common = { ...options, cohort: scans, out: dir, store, largestFirst, encoding, signal, onEvent };
      if (service) {
        const access = accessOf(snapshot, flags);
        await retryAtService(snapshot, access, flags.id);
        const result = await runCloudCohort({ ...common, ...access, to: service.url });
        return tellResult(result, Boolean(flags.json));
      }
      const marked = markForRetry(dir, flags.id);
      if (!flags.json) process.stderr.write(`${marked} to be done again\n`);
      tellResult(await runCohort({ ...common, slidesAtOnce }), Boolean(flags.json));
    });

  cohort
    .command("cancel <dir>")
    .description(
      "stop a running cohort, at a service what is under way there; the same command goes on with it",
    )
    .option("--token <token>", TOKEN)
    .action(async (dir: string, flags) => {
      const snapshot = new CohortDirectory(dir).read();
      if (!snapshot.service) return cancelCohort(dir, signal);
      await cohortClient(snapshot, accessOf(snapshot, flags)).cancel();
    });

  cohort
    .command("remove <dir>")
    .description(
      "have the service forget a cohort: ids and addresses of its scans; what was fetched stays here (needs the scope admin)",
    )
    .option("--results", "remove results and records of its jobs there, too")
    .option("--token <token>", TOKEN)
    .action(async (dir: string, flags) => {
      const snapshot = new CohortDirectory(dir).read();
      if (!snapshot.service) throw new JobError(`this cohort ran on this machine: delete ${dir}`);
      const jobs = await removeAtService(snapshot, accessOf(snapshot, flags), Boolean(flags.results));
      console.log(
        `the service has forgotten the cohort${flags.results ? ` and the results of ${jobs} jobs` : "; results of its jobs are still there"}`,
      );
    });

  cohort
    .command("export <dir>")
    .description("write tables and report again from the results that are there, here or at the service")
    .option("--token <token>", TOKEN)
    .option("--json", "totals as JSON")
    .action(async (dir: string, flags) => {
      const snapshot = new CohortDirectory(dir).read();
      if (snapshot.service) await fetchCloudCohort(dir, accessOf(snapshot, flags));
      const outcomes = await exportCohort(dir, signal);
      printResult({ rows: outcomes.length, out: dir, ...totalsOf(outcomes) }, Boolean(flags.json));
    });
}

function tellResult(result: CohortResult, json: boolean): void {
  printResult(result, json);
  if (result.failed > 0) process.exitCode = EXIT.job;
}

function tellJson(event: CohortProgress): void {
  process.stderr.write(`${JSON.stringify(event)}\n`);
}

function printResult(result: CohortResult, json: boolean): void {
  if (json) return void process.stdout.write(`${JSON.stringify(result)}\n`);
  for (const name of ["cohort.csv", "cohort.parquet", "objects", "report.html"])
    console.log(`${result.out}/${name}`);
  const beside = result.forecast === undefined ? "" : `, forecast ${usd(result.forecast)}`;
  console.log(
    `${result.done} of ${result.rows} done, ${result.failed} failed; ${result.windows} windows, ${usd(result.cost)} used${beside}`,
  );
}

function printAnswer({ state, reason, rows, scans, spentUsd, limits, failures }: ServiceAnswer): void {
  const { done, failed, running } = rows;
  const limit = limits.spendLimitUsd === null ? "" : ` of ${usd(limits.spendLimitUsd)}`;
  const more = scans > rows.total ? `, ${scans - rows.total} not sent` : "";
  console.log(
    `${done} of ${scans} done, ${failed} failed, ${running} under way, ${rows.pending} to do${more}; ${state}`,
  );
  console.log(`  ${usd(spentUsd)}${limit} spent`);
  if (reason !== undefined) console.log(`  ${reason}`);
  printFailures(failures);
}

function printStatus(status: CohortStatus): void {
  const { rows, done, failed, pending, running, holder, failures } = status;
  const who = holder ? `process ${holder.pid} on ${holder.host} is at it` : "nobody is at it";
  console.log(`${done} of ${rows} done, ${failed} failed, ${pending} to do; ${who}`);
  if (running.length > 0) console.log(`  now: ${running.join(", ")}`);
  printFailures(failures);
}

function printFailures(failures: CohortStatus["failures"]): void {
  for (const { id, code, reason } of failures.slice(0, 20)) console.log(`  ${id}: ${code}: ${reason}`);
  if (failures.length > 20) console.log(`  and ${failures.length - 20} more`);
}

import type { Command } from "commander";
import { CohortDirectory } from "../../cohort/cohort-directory.ts";
import type { CohortSnapshot } from "../../cohort/cohort-snapshot.ts";
import {
  createCohortClient,
  pollRemoteStatus,
  type RemoteCohortReport,
  removeRemoteCohort,
  retryRemoteCohort,
} from "../../cohort/remote/remote-commands.ts";
import { fetchRemoteCohort, runRemoteCohort } from "../../cohort/remote/run-remote-cohort.ts";
import { runCohort } from "../../cohort/run-cohort.ts";
import {
  type CohortStatus,
  cancelCohort,
  cohortStatus,
  exportCohort,
  markForRetry,
  watchCohort,
} from "../../cohort/status-cohort.ts";
import { sumOutcomes } from "../../cohort/totals.ts";
import { JobError } from "../../orchestrator/errors.ts";
import type { AddCommand, CommandContext } from "../options/context.ts";
import { collect } from "../options/parsers.ts";
import { resolveToken } from "../options/shared-options.ts";
import { cohortPrinter } from "../terminal/cohort-progress.ts";
import {
  printCohort,
  printEventAsJson,
  printServiceStatus,
  printStatus,
  reportCohort,
} from "../terminal/print-cohort.ts";
import { addCohortRunCommand, SERVICE_TOKEN } from "./cohort-run.ts";

interface CohortFlags {
  token?: string;
  json?: boolean;
}

export const addCohortCommands: AddCommand = (program, context) => {
  const cohort = program.command("cohort").description("many scans, one table");
  addCohortRunCommand(cohort, context);
  addStatusCommand(cohort, context);
  addRetryCommand(cohort, context);
  addCancelCommand(cohort, context);
  addRemoveCommand(cohort, context);
  addExportCommand(cohort, context);
};

/** Access to the service that runs the cohort of a directory. */
function toAccess({ service }: CohortSnapshot, { token }: CohortFlags, { signal }: CommandContext) {
  return { token: resolveToken({ server: service!.url, token }), signal };
}

function addStatusCommand(cohort: Command, context: CommandContext): void {
  cohort
    .command("status <dir>")
    .description("show the progress of a cohort")
    .option("--watch", "until no process works on it")
    .option("--token <token>", SERVICE_TOKEN)
    .option("--json", "as JSON; with --watch one line for each change")
    .action(async (dir: string, flags: CohortFlags & { watch?: boolean }) => {
      const snapshot = new CohortDirectory(dir).read();
      const printJson = (status: unknown) => void process.stdout.write(`${JSON.stringify(status)}\n`);
      if (snapshot.service) {
        const print = (answer: RemoteCohortReport) =>
          flags.json ? printJson(answer) : printServiceStatus(answer);
        return pollRemoteStatus(snapshot, toAccess(snapshot, flags, context), print, Boolean(flags.watch));
      }
      const print = (status: CohortStatus) => (flags.json ? printJson(status) : printStatus(status));
      if (flags.watch) return watchCohort(dir, print, context.signal);
      print(cohortStatus(dir));
    });
}

function addRetryCommand(cohort: Command, context: CommandContext): void {
  cohort
    .command("retry <dir>")
    .description("retry failed scans with the settings of the last run")
    .option("--failed", "all that failed (the default)")
    .option("--id <id>", "only this one; may be given more than once", collect)
    .option("--token <token>", SERVICE_TOKEN)
    .option("--json", "progress as JSON lines on stderr, the totals on stdout")
    .action(async (dir: string, flags: CohortFlags & { id?: string[] }) => {
      const { signal, setResumeHint } = context;
      setResumeHint("continue later with the same command");
      const snapshot = new CohortDirectory(dir).read();
      const { cohort: scans, options, store, slidesAtOnce, largestFirst, encoding, service } = snapshot;
      const onEvent = flags.json ? printEventAsJson : cohortPrinter();
      const common = { ...options, cohort: scans, out: dir, store, largestFirst, encoding, signal, onEvent };
      if (service) {
        const access = toAccess(snapshot, flags, context);
        await retryRemoteCohort(snapshot, access, flags.id);
        const result = await runRemoteCohort({ ...common, ...access, server: service.url });
        return reportCohort(result, Boolean(flags.json));
      }
      const marked = markForRetry(dir, flags.id);
      if (!flags.json) process.stderr.write(`${marked} scans to retry\n`);
      reportCohort(await runCohort({ ...common, parallelSlides: slidesAtOnce }), Boolean(flags.json));
    });
}

function addCancelCommand(cohort: Command, context: CommandContext): void {
  cohort
    .command("cancel <dir>")
    .description("stop a running cohort, also at a service; running the same command again continues it")
    .option("--token <token>", SERVICE_TOKEN)
    .action(async (dir: string, flags: CohortFlags) => {
      const snapshot = new CohortDirectory(dir).read();
      if (!snapshot.service) return cancelCohort(dir, context.signal);
      await createCohortClient(snapshot, toAccess(snapshot, flags, context)).cancel();
    });
}

function addRemoveCommand(cohort: Command, context: CommandContext): void {
  cohort
    .command("remove <dir>")
    .description(
      "delete a cohort from the service: ids and addresses of its scans; downloaded results stay (needs the scope admin)",
    )
    .option("--results", "remove results and records of its jobs there, too")
    .option("--token <token>", SERVICE_TOKEN)
    .action(async (dir: string, flags: CohortFlags & { results?: boolean }) => {
      const snapshot = new CohortDirectory(dir).read();
      if (!snapshot.service) throw new JobError(`this cohort ran on this machine: delete ${dir}`);
      const access = toAccess(snapshot, flags, context);
      const jobs = await removeRemoteCohort(snapshot, access, Boolean(flags.results));
      console.log(
        `the service has deleted the cohort${flags.results ? ` and the results of ${jobs} jobs` : "; it keeps the results of its jobs"}`,
      );
    });
}

function addExportCommand(cohort: Command, context: CommandContext): void {
  cohort
    .command("export <dir>")
    .description("write tables and report again from the results, here or at the service")
    .option("--token <token>", SERVICE_TOKEN)
    .option("--json", "totals as JSON")
    .action(async (dir: string, flags: CohortFlags) => {
      const snapshot = new CohortDirectory(dir).read();
      if (snapshot.service) await fetchRemoteCohort(dir, toAccess(snapshot, flags, context));
      const outcomes = await exportCohort(dir, context.signal);
      printCohort({ rows: outcomes.length, out: dir, ...sumOutcomes(outcomes) }, Boolean(flags.json));
    });
}

import type { CohortProgress, CohortResult } from "../../cohort/cohort-options.ts";
import type { RemoteCohortReport } from "../../cohort/remote/remote-commands.ts";
import type { CohortStatus } from "../../cohort/status-cohort.ts";
import { EXIT } from "../../exit/exit-status.ts";
import { usd } from "../../local/format.ts";

/** Prints the totals and sets the exit status: a cohort with failed scans has its own. */
export function reportCohort(result: CohortResult, json: boolean): void {
  printCohort(result, json);
  if (result.failed > 0) process.exitCode = EXIT.job;
}

/** Prints one JSON event per line to stderr. */
export function printEventAsJson(event: CohortProgress): void {
  process.stderr.write(`${JSON.stringify(event)}\n`);
}

/** Prints files and totals of a cohort. */
export function printCohort(result: CohortResult, json: boolean): void {
  if (json) return void process.stdout.write(`${JSON.stringify(result)}\n`);
  for (const name of ["cohort.csv", "cohort.parquet", "objects", "report.html"])
    console.log(`${result.out}/${name}`);
  const beside = result.forecast === undefined ? "" : `, forecast ${usd(result.forecast)}`;
  console.log(
    `${result.done} of ${result.rows} done, ${result.failed} failed; ${result.windows} windows, ${usd(result.cost)} used${beside}`,
  );
}

/** Prints the progress of a cohort at its service. */
export function printServiceStatus({
  state,
  reason,
  rows,
  scans,
  spentUsd,
  limits,
  failures,
}: RemoteCohortReport): void {
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

/** Prints the progress of a cohort on this machine. */
export function printStatus(status: CohortStatus): void {
  const { rows, done, failed, pending, running, holder, failures } = status;
  const who = holder ? `process ${holder.pid} on ${holder.host} works on it` : "no process works on it";
  console.log(`${done} of ${rows} done, ${failed} failed, ${pending} to do; ${who}`);
  if (running.length > 0) console.log(`  now: ${running.join(", ")}`);
  printFailures(failures);
}

function printFailures(failures: CohortStatus["failures"]): void {
  for (const { id, code, reason } of failures.slice(0, 20)) console.log(`  ${id}: ${code}: ${reason}`);
  if (failures.length > 20) console.log(`  and ${failures.length - 20} more`);
}

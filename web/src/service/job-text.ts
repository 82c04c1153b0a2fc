import type { JobStatus } from "../../../src/contracts/job-request.ts";

const STATES: Record<JobStatus["state"], string> = {
  planning: "planning",
  mapping: "segmenting",
  merging: "merging",
  finishing: "writing outputs",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
};

/** The state of a job in words. */
export function stateText({ state, windows, merges }: JobStatus): string {
  if (state === "mapping" && windows) return `${STATES[state]}: ${windows.done} of ${windows.total} windows`;
  if (state === "merging" && merges) return `${STATES[state]}: ${merges.done} of ${merges.total} blocks`;
  return STATES[state];
}

/** Share of the work that is done, roughly; undefined while unknown. */
export function jobProgress({ state, windows, merges }: JobStatus): number | undefined {
  const share = (part: { done: number; total: number } | undefined) =>
    part?.total ? part.done / part.total : 0;
  switch (state) {
    case "mapping":
      return 0.9 * share(windows);
    case "merging":
      return 0.9 + 0.05 * share(merges);
    case "finishing":
      return 0.95;
    case "done":
      return 1;
    default:
      return undefined;
  }
}

/** Name of a job's scan. */
export function scanName({ source }: JobStatus): string {
  const last = source.uri.replace(/\/+$/, "").split("/").at(-1) ?? source.uri;
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

/** What to do about a job that failed, a sentence. */
export function adviceOf(code: string): string {
  return ADVICE[code] ?? "If trying again does not help, the log of the service says more.";
}

const ADVICE: Record<string, string> = {
  source_changed: "Upload the scan again, as it is now.",
  source_missing: "Put the scan back where it was, or upload it again.",
  source_unreadable: "Trying again does not help: check that the file opens elsewhere, and upload it again.",
  no_tissue: "Draw the region to segment, or segment the scan without the search for tissue.",
  job_refused: "Trying again with the same settings does not help.",
  storage_refused: "Give the service access to the storage of the scan, then try again.",
  task_stopped: "Segment it on one machine with tilewright segment, which has more memory and time.",
  work_lost: "Try again.",
};

/** An estimate at list prices, in words. */
export function costText({ amount, total }: NonNullable<JobStatus["estimatedCost"]>): string {
  const so = amount > 0 ? dollarText(amount) : "$0";
  return total === undefined ? `about ${so}` : `about ${so} of ${dollarText(total)}`;
}

/** An amount of USD to two digits that count. */
export function dollarText(value: number): string {
  return `$${value < 0.995 ? value.toPrecision(2) : value.toFixed(2)}`;
}

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

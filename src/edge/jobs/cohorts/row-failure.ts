import type { FailureCode, ScanFailure } from "../../../contracts/failure-codes.ts";
import type { JobStatus } from "../../../contracts/job-request.ts";
import { publicMessage, terminalFailure } from "../../../service/job-failure.ts";
import { StorageError } from "../../../storage/errors.ts";

/** Error code of a job that a cancelled cohort started: other cohorts with the same job start it again. */
export const COHORT_CANCELLED = "cohort_cancelled";

/** Error codes of jobs and requests, and the failure codes that cohorts use for them. */
const CODES: ReadonlyMap<string, FailureCode> = new Map(
  Object.entries({
    source_missing: "missing",
    source_unreadable: "unreadable",
    source_changed: "changed",
    no_tissue: "no-tissue",
    storage_refused: "unreadable",
    // A window that failed on every attempt.
    task_failed: "backend",
    task_stopped: "backend",
    work_lost: "storage",
  } as const),
);

/** Why a job ended without results. Leaves out the folder of the source, as on one machine. */
export function jobFailure({
  state,
  error,
  source,
}: Pick<JobStatus, "state" | "error" | "source">): ScanFailure {
  if (state === "cancelled")
    return { code: "refused", reason: "its job was cancelled: retry the scan to start it again" };
  const { code, message } = error ?? { code: "", message: "its job failed without a reason" };
  return { code: CODES.get(code) ?? "refused", reason: toSingleLine(withoutFolder(message, source.uri)) };
}

/**
 * Classifies an error on starting the job of a source.
 * @returns `transient`: another attempt may succeed
 */
export function classifyStartError(error: unknown, source: string): ScanFailure & { transient: boolean } {
  const failure = terminalFailure(error);
  const sentence = (text: string) => toSingleLine(withoutFolder(text, source));
  if (failure)
    return {
      code: CODES.get(failure.code) ?? "refused",
      reason: sentence(failure.message),
      transient: false,
    };
  const reason = sentence(publicMessage(error, console.error));
  return { code: error instanceof StorageError ? "storage" : "unexpected", reason, transient: true };
}

function withoutFolder(text: string, uri: string): string {
  const [, folder] = /^[a-z0-9]+:\/\/[^/]+\/(.+\/)[^/]+$/i.exec(uri) ?? [];
  return folder === undefined ? text : text.replaceAll(folder, "");
}

function toSingleLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").slice(0, 500);
}

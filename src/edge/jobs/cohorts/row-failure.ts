import type { FailureCode, ScanFailure } from "../../../contracts/failure-codes.ts";
import type { JobStatus } from "../../../contracts/job-request.ts";
import { finalFailure, reasonOf } from "../../../service/job-failure.ts";
import { StorageError } from "../../../storage/errors.ts";

/** Another cohort that had the same job was cancelled: this one starts it again. */
export const COHORT_CANCELLED = "cohort_cancelled";

/** Codes of jobs and of what refuses them, as cohorts have them everywhere. */
const CODES: ReadonlyMap<string, FailureCode> = new Map(
  Object.entries({
    source_missing: "missing",
    source_unreadable: "unreadable",
    source_changed: "changed",
    no_tissue: "no-tissue",
    storage_refused: "unreadable",
    // A window that no try could segment.
    task_failed: "backend",
    task_stopped: "backend",
    work_lost: "storage",
  } as const),
);

/** Why a job ended without results; the folder of its source is left out, as on one machine. */
export function jobFailure({
  state,
  error,
  source,
}: Pick<JobStatus, "state" | "error" | "source">): ScanFailure {
  if (state === "cancelled")
    return { code: "refused", reason: "its job was cancelled: retry the scan to start it again" };
  const { code, message } = error ?? { code: "", message: "its job failed and does not say why" };
  return { code: CODES.get(code) ?? "refused", reason: plain(withoutFolder(message, source.uri)) };
}

/**
 * Why the job of a source could not be started.
 * @returns `passing`: another try may help
 */
export function startFailure(error: unknown, source: string): ScanFailure & { passing: boolean } {
  const failure = finalFailure(error);
  const sentence = (text: string) => plain(withoutFolder(text, source));
  if (failure)
    return { code: CODES.get(failure.code) ?? "refused", reason: sentence(failure.message), passing: false };
  const reason = sentence(reasonOf(error, console.error));
  return { code: error instanceof StorageError ? "storage" : "unexpected", reason, passing: true };
}

function withoutFolder(text: string, uri: string): string {
  const [, folder] = /^[a-z0-9]+:\/\/[^/]+\/(.+\/)[^/]+$/i.exec(uri) ?? [];
  return folder === undefined ? text : text.replaceAll(folder, "");
}

function plain(text: string): string {
  return text.replaceAll(/\s+/g, " ").slice(0, 500);
}

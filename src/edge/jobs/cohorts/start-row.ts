import type { CohortJob } from "../../../contracts/cohort-request.ts";
import type { Bindings } from "../context/bindings.ts";
import { type CreatedJob, createJob } from "../lifecycle/create-job.ts";
import type { StoredRow } from "./cohort-rows.ts";

export interface StartedRow extends CreatedJob {
  /** This start created the job, so the cohort pays for it. */
  billedToCohort: boolean;
}

/**
 * Starts the job of a row, or finds it. Repeated with the same `started_at`, as after a crash, it finds the job of the
 * attempt before: a failed job is started over only if it is older than `started_at`.
 * @throws {HttpError} where the row cannot become a job
 */
export async function startRow(
  env: Bindings,
  job: CohortJob,
  { source, mpp, started_at: startedAt }: Pick<StoredRow, "source" | "mpp" | "started_at">,
): Promise<StartedRow> {
  const request = { ...job, mpp: mpp ?? job.mpp, source: toR2Address(env, source) };
  const found = await createJob(env, request, { again: false });
  const isOlder = Date.parse(found.status.createdAt) < startedAt!;
  if (isOlder && (found.status.state === "failed" || found.status.state === "cancelled")) {
    const again = await createJob(env, request, { again: true });
    return { ...again, billedToCohort: again.created };
  }
  return { ...found, billedToCohort: found.created || !isOlder };
}

/** Writes the `s3://` address of the service's own bucket as `r2://`. */
export function toR2Address({ SCANS_BUCKET }: Bindings, source: string): string {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/i.exec(source) ?? [];
  return bucket !== undefined && bucket === SCANS_BUCKET ? `r2://${bucket}/${key}` : source;
}

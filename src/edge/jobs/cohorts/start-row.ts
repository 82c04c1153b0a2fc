import type { CohortJob } from "../../../contracts/cohort-request.ts";
import type { Bindings } from "../context/bindings.ts";
import { type CreatedJob, createJob } from "../lifecycle/create-job.ts";
import type { StoredRow } from "./cohort-rows.ts";

export interface StartedRow extends CreatedJob {
  /** The job is of this very start, so its cost is the cohort's. */
  mine: boolean;
}

/**
 * Starts the job of a row, or finds it. Done once more with the same `started_at`, as after a crash, it finds the job of
 * the try before: a job that failed is started over only where it is older than that.
 * @throws {Problem} where the row cannot become a job
 */
export async function startRow(
  env: Bindings,
  job: CohortJob,
  { source, mpp, started_at: startedAt }: Pick<StoredRow, "source" | "mpp" | "started_at">,
): Promise<StartedRow> {
  const request = { ...job, mpp: mpp ?? job.mpp, source: inPlace(env, source) };
  const found = await createJob(env, request, { again: false });
  const isOlder = Date.parse(found.status.createdAt) < startedAt!;
  if (isOlder && (found.status.state === "failed" || found.status.state === "cancelled")) {
    const again = await createJob(env, request, { again: true });
    return { ...again, mine: again.created };
  }
  return { ...found, mine: found.created || !isOlder };
}

/** The service's own bucket, as those who know it by S3 call it. */
export function inPlace({ SCANS_BUCKET }: Bindings, source: string): string {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/i.exec(source) ?? [];
  return bucket !== undefined && bucket === SCANS_BUCKET ? `r2://${bucket}/${key}` : source;
}

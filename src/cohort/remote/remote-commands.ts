import { JobClient } from "../../client/job-client.ts";
import type { RemoteCohortStatus } from "../../contracts/cohort-request.ts";
import { JobError } from "../../orchestrator/errors.ts";
import { forEachConcurrent } from "../../storage/concurrency.ts";
import { pause } from "../../storage/retry.ts";
import type { CohortSnapshot } from "../cohort-snapshot.ts";
import { CohortClient } from "./cohort-client.ts";

export interface RemoteCohortReport extends RemoteCohortStatus {
  /** Rows of the manifest. Scans whose files are not uploaded yet, or do not exist, are missing from `rows`. */
  scans: number;
  failures: readonly { id: string; code: string; reason: string }[];
}

const MIN_POLL_MS = 1000;
const MAX_POLL_MS = 10_000;

export interface RemoteAccess {
  token?: string;
  signal?: AbortSignal;
}

/** A client for the cohort of a directory. */
export function createCohortClient({ service }: CohortSnapshot, access: RemoteAccess): CohortClient {
  return new CohortClient(new JobClient(service!.url, access), service!.cohort);
}

/** Reports the progress of a cohort at the service; with `watch`, each change until nothing is in progress. */
export async function pollRemoteStatus(
  snapshot: CohortSnapshot,
  access: RemoteAccess,
  tell: (status: RemoteCohortReport) => void,
  watch: boolean,
): Promise<void> {
  const client = createCohortClient(snapshot, access);
  const failures = new Map<string, RemoteCohortReport["failures"][number]>();
  let before = "";
  for (let delayMs = MIN_POLL_MS; ; ) {
    const status = await client.status();
    for await (const { id, state, code = "", reason = "" } of client.changes()) {
      if (state === "failed") failures.set(id, { id, code, reason });
      else failures.delete(id);
    }
    const answer = { ...status, scans: snapshot.rows.length, failures: [...failures.values()] };
    const text = JSON.stringify(answer);
    if (text !== before) tell(answer);
    if (!watch || (status.rows.running === 0 && status.state !== "running")) return;
    delayMs = text === before ? Math.min(2 * delayMs, MAX_POLL_MS) : MIN_POLL_MS;
    before = text;
    await pause(delayMs, access.signal);
  }
}

/** Retries failed scans at the service. @param ids only these; default all that failed */
export async function retryRemoteCohort(
  snapshot: CohortSnapshot,
  access: RemoteAccess,
  ids: readonly string[] | undefined,
): Promise<void> {
  const unknown = ids?.find((id) => !snapshot.rows.some((row) => row.id === id));
  if (unknown !== undefined) throw new JobError(`there is no scan "${unknown}" in this cohort`);
  await createCohortClient(snapshot, access).retry(ids);
}

const PARALLEL_DELETES = 8;

/**
 * Deletes a cohort at the service. `results` also deletes results and records of its jobs, including those that other
 * cohorts share. Downloaded files stay.
 * @returns the number of deleted jobs
 */
export async function removeRemoteCohort(
  snapshot: CohortSnapshot,
  access: RemoteAccess,
  results: boolean,
): Promise<number> {
  const client = createCohortClient(snapshot, access);
  const { rows, state } = await client.status();
  if (rows.running > 0 || state === "running") {
    throw new JobError("the cohort is under way: end it with `tilewright cohort cancel` first");
  }
  const jobs = new Set<string>();
  if (results) for await (const { job } of client.changes()) if (job !== undefined) jobs.add(job);
  await forEachConcurrent([...jobs], PARALLEL_DELETES, (job) => client.jobs.delete(job));
  // The record last: after an interruption it still lists what is left.
  await client.delete();
  return jobs.size;
}

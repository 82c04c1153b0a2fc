import { JobClient } from "../../client/job-client.ts";
import type { RemoteCohortStatus } from "../../contracts/cohort-request.ts";
import { JobError } from "../../orchestrator/errors.ts";
import { forEachConcurrent } from "../../storage/concurrency.ts";
import { pause } from "../../storage/retry.ts";
import type { CohortSnapshot } from "../cohort-snapshot.ts";
import { CohortClient } from "./cohort-client.ts";

export interface RemoteCohortReport extends RemoteCohortStatus {
  /** Of the manifest; those whose files are still on their way, or are not there, are not in `rows`. */
  scans: number;
  failures: readonly { id: string; code: string; reason: string }[];
}

const MIN_POLL_MS = 1000;
const MAX_POLL_MS = 10_000;

export interface RemoteAccess {
  token?: string;
  signal?: AbortSignal;
}

/** The cohort of a directory at its service. */
export function createCohortClient({ service }: CohortSnapshot, access: RemoteAccess): CohortClient {
  return new CohortClient(new JobClient(service!.url, access), service!.cohort);
}

/** Asks the service how far a cohort is; with `watch` again and again until nothing moves there, telling what changed. */
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

/** Has the service do failed scans again. @param ids only these; default all that failed */
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
 * Has the service remove what it keeps of a cohort: its record, with `results` also results and records of its jobs, those
 * that other cohorts share with it included. What was fetched stays.
 * @returns how many jobs were removed
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
  // The record last: whoever is cut off in between finds in it what is left.
  await client.delete();
  return jobs.size;
}

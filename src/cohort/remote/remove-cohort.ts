import { JobError } from "../../orchestrator/errors.ts";
import { forEachConcurrent } from "../../storage/concurrency.ts";
import type { CohortSnapshot } from "../cohort-directory.ts";
import { type RemoteAccess, createCohortClient } from "./remote-status.ts";

const AT_ONCE = 8;

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
  await forEachConcurrent([...jobs], AT_ONCE, (job) => client.jobs.remove(job));
  // The record last: whoever is cut off in between finds in it what is left.
  await client.remove();
  return jobs.size;
}

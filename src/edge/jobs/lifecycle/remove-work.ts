import type { JobState } from "../../../contracts/job-request.ts";
import { jobKeys } from "../../shared/job-keys.ts";
import type { Bindings } from "../context/bindings.ts";

/** Maximum number of objects that R2 deletes in one call. */
const DELETE_BATCH = 1000;

/** Deletes the temporary objects of a job, and the outputs of a job that is not done. */
export function removeWork(env: Bindings, job: string, state: JobState): Promise<number> {
  return state === "done" ? removeBelow(env.RESULTS!, jobKeys.work(job)) : removeAll(env, job);
}

/** Deletes all objects of a job, run.json first, because it marks the results as complete. */
export async function removeAll(env: Bindings, job: string): Promise<number> {
  const bucket = env.RESULTS!;
  await bucket.delete(jobKeys.manifest(job));
  return (await removeBelow(bucket, jobKeys.work(job))) + (await removeBelow(bucket, jobKeys.results(job)));
}

async function removeBelow(bucket: NonNullable<Bindings["RESULTS"]>, prefix: string): Promise<number> {
  let removed = 0;
  while (true) {
    const { objects } = await bucket.list({ prefix, limit: DELETE_BATCH });
    if (objects.length === 0) return removed;
    await bucket.delete(objects.map((object) => object.key));
    removed += objects.length;
  }
}

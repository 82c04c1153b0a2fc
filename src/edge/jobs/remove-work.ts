import type { JobState } from "../../orchestrator/job-request.ts";
import { jobKeys } from "../shared/job-keys.ts";
import type { Bindings } from "./bindings.ts";

/** Objects that R2 deletes in one call. */
const DELETE_BATCH = 1000;

/** Deletes what a job needed on its way, and the outputs of one that did not get to its end. */
export async function removeWork(env: Bindings, job: string, state: JobState): Promise<number> {
  let removed = await removeBelow(env.RESULTS!, jobKeys.work(job));
  if (state !== "done") removed += await removeBelow(env.RESULTS!, jobKeys.results(job));
  return removed;
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

import type { R2Bucket } from "@cloudflare/workers-types";
import { LRUCache } from "lru-cache";
import { decodePlannedJob, type PlannedJob } from "../../contracts/job-plan-message.ts";
import { jobKeys } from "./job-keys.ts";
import { resultsStore } from "./results-store.ts";

/** Cached plans: messages of a job tend to arrive together. */
const KEPT = 2;
const kept = new LRUCache<string, PlannedJob>({ max: KEPT });

/** Reads the plan of a job, cached by its etag. @throws {RangeError} when there is none */
export async function readPlan(results: R2Bucket, job: string): Promise<PlannedJob> {
  const store = resultsStore(results);
  const known = kept.get(job);
  if (known) return known;
  const object = await store.get(jobKeys.plan(job));
  if (!object) throw new RangeError(`job ${job} has no plan: it has ended, or was never planned`);
  const planned = decodePlannedJob(object.bytes);
  kept.set(job, planned);
  return planned;
}

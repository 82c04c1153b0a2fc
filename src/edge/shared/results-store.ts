import type { R2Bucket } from "@cloudflare/workers-types";
import type { ObjectStore } from "../../storage/object-store.ts";
import { R2Store } from "../../storage/r2-store.ts";
import { withRetry } from "../../storage/retry.ts";

/** The bucket of results, with retries: a task makes thousands of calls, and one failure would cost the whole task. */
export function resultsStore(bucket: R2Bucket, prefix = ""): ObjectStore {
  return withRetry(new R2Store(bucket, { prefix }));
}

import type { R2Bucket } from "@cloudflare/workers-types";
import type { ObjectStore } from "../../storage/object-store.ts";
import { R2Store } from "../../storage/r2-store.ts";
import { withRetry } from "../../storage/retry.ts";

/** What jobs keep in a bucket. Tried again at once where R2 asks for it: a task makes thousands of calls, and one that fails would cost all of it. */
export function resultsStore(bucket: R2Bucket, prefix = ""): ObjectStore {
  return withRetry(new R2Store(bucket, { prefix }));
}

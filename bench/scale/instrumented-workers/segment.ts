import type { ExecutionContext, MessageBatch } from "@cloudflare/workers-types";
import type { SegmentBindings } from "../../../src/edge/segment/settings.ts";
import worker from "../../../src/edge/segment/worker.ts";
import { countedBucket, countMessages } from "./count.ts";

export default {
  fetch: (request: Request, env: SegmentBindings, context: ExecutionContext) =>
    worker.fetch(request, env, context),
  queue: (batch: MessageBatch<unknown>, env: SegmentBindings) => {
    countMessages(batch);
    return worker.queue(batch, { ...env, RESULTS: countedBucket(env.RESULTS) });
  },
};

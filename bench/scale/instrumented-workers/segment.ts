import type { ExecutionContext, MessageBatch } from "@cloudflare/workers-types";
import type { Bindings } from "../../../src/edge/segment/settings.ts";
import worker from "../../../src/edge/segment/worker.ts";
import { countedBucket, countMessages } from "./count.ts";

export default {
  fetch: (request: Request, env: Bindings, context: ExecutionContext) => worker.fetch(request, env, context),
  queue: (batch: MessageBatch<unknown>, env: Bindings) => {
    countMessages(batch);
    return worker.queue(batch, { ...env, RESULTS: countedBucket(env.RESULTS) });
  },
};

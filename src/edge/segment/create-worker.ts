import type { ExecutionContext, MessageBatch } from "@cloudflare/workers-types";
import { createSegmentApp } from "./app.ts";
import { ModelHost, type OpenModel } from "./model-host.ts";
import type { SegmentBindings } from "./settings.ts";
import { ShardConsumer } from "./shard-consumer.ts";

/** The edge function: serves a model from a bucket over HTTP and a queue. Each isolate loads the model once. */
export function createWorker(open: OpenModel) {
  const host = new ModelHost(open);
  const app = createSegmentApp(host);
  const shards = new ShardConsumer(host);
  return {
    fetch: (request: Request, env: SegmentBindings, context: ExecutionContext) =>
      app.fetch(request, env, context),
    queue: (batch: MessageBatch<unknown>, env: SegmentBindings) => shards.consume(batch, env),
  };
}

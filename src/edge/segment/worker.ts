import type { ExecutionContext, MessageBatch } from "@cloudflare/workers-types";
import wasmModule from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
import { createSegmentApp } from "./app.ts";
import { ModelHost } from "./model-host.ts";
import type { SegmentBindings } from "./settings.ts";
import { ShardConsumer } from "./shard-consumer.ts";

/** The edge function: serves a model from a bucket over HTTP and a queue. Each isolate loads the model once. */
const host = new ModelHost(wasmModule);
const app = createSegmentApp(host);
const shards = new ShardConsumer(host);

export default {
  fetch: (request: Request, env: SegmentBindings, context: ExecutionContext) =>
    app.fetch(request, env, context),
  queue: (batch: MessageBatch<unknown>, env: SegmentBindings) => shards.consume(batch, env),
};

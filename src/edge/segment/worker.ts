import type { ExecutionContext, MessageBatch } from "@cloudflare/workers-types";
import wasmModule from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
import { createApp } from "./app.ts";
import { ModelHost } from "./model-host.ts";
import type { Bindings } from "./settings.ts";
import { ShardConsumer } from "./shard-consumer.ts";

/** The edge function: serves a model from a bucket over HTTP and a queue. Each isolate loads the model once. */
const host = new ModelHost(wasmModule);
const app = createApp(host);
const shards = new ShardConsumer(host);

export default {
  fetch: (request: Request, env: Bindings, context: ExecutionContext) => app.fetch(request, env, context),
  queue: (batch: MessageBatch<unknown>, env: Bindings) => shards.consume(batch, env),
};

import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { toIntensityNormalization } from "../src/inference/intensity-normalization.ts";
import { runCpuThread, startCpuThread } from "../src/inference/node/ort-node.ts";
import { openSource } from "../src/local/open-source.ts";
import { loadModel } from "../src/local/resolve-model.ts";
import { manifestSchema } from "../src/model-package/manifest.ts";
import { readShard, sliceBatch } from "../src/orchestrator/input/read-shard.ts";
import { planJob } from "../src/orchestrator/plan/plan-job.ts";
import { checkSettings } from "../src/orchestrator/settings.ts";
import { planShards } from "../src/tiling/grid/shards.ts";
import { normalizeWindows } from "../src/tiling/pixels/normalize.ts";

/**
 * The lower bound: only `session.run` over the windows of a job, with prepared inputs, in two arrangements.
 *   node bench/raw-inference.ts <slide> <package> <threads> [mpp]    prints {"windows", "oneSession", "sessionPerThread"}
 */
const [slide, packageDirectory, threads, mpp] = process.argv.slice(2);
// As in InferenceThread: otherwise the runtime sends telemetry.
process.env.ORT_DISABLE_TELEMETRY ??= "1";
const manifest = manifestSchema.parse(
  JSON.parse(readFileSync(join(packageDirectory!, "model.json"), "utf8")),
);
const variant = manifest.variants[manifest.defaultVariant]!;
const { source, close } = await openSource(slide!, mpp ? Number(mpp) : undefined);
const plan = await planJob(source, manifest, checkSettings({ tissueMask: false }));
const scaling = toIntensityNormalization(manifest, plan.scaling.low, plan.scaling.high);
const inputs = [];
for (const shard of planShards(plan.grid, plan.kept, plan.shardBlock)) {
  const all = await readShard(source, plan, shard, undefined);
  for (let n = 0; n < all.windows.length; n += 4) {
    const { pixels } = sliceBatch(all, n, Math.min(n + 4, all.windows.length));
    inputs.push(normalizeWindows(pixels, manifest.input.channels, scaling));
  }
}
await close();
// One session with all threads inside its runs and batches of 4, as in a simple script.
const session = await ort.InferenceSession.create(join(packageDirectory!, variant.files[0]!.path), {
  executionProviders: ["cpu"],
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  executionMode: "sequential",
});
const [first] = inputs[0]!.shape;
const warmUp = new ort.Tensor("float32", inputs[0]!.data.slice(), [first!, ...inputs[0]!.shape.slice(1)]);
(await session.run({ [variant.input]: warmUp }))[variant.output]!.dispose();
let started = performance.now();
for (const { data, shape } of inputs) {
  const result = await session.run({ [variant.input]: new ort.Tensor("float32", data, shape) });
  result[variant.output]!.dispose();
}
const oneSession = (performance.now() - started) / 1000;
await session.release();

// A single-threaded session for each core, one window at a time: the fastest known arrangement.
const model = await loadModel(packageDirectory!);
const pool = await Promise.all(Array.from({ length: Number(threads) }, () => startCpuThread(model)));
const singles = inputs.flatMap(({ data, shape }) => {
  const size = data.length / shape[0]!;
  return Array.from({ length: shape[0]! }, (_, n) => ({
    data: data.slice(n * size, (n + 1) * size),
    shape: [1, ...shape.slice(1)],
  }));
});
await Promise.all(
  pool.map((t) => runCpuThread(t, { data: singles[0]!.data.slice(), shape: singles[0]!.shape }, undefined)),
);
started = performance.now();
await Promise.all(
  pool.map(async (thread, t) => {
    for (let i = t; i < singles.length; i += pool.length) await runCpuThread(thread, singles[i]!, undefined);
  }),
);
const sessionPerThread = (performance.now() - started) / 1000;
await Promise.all(pool.map((thread) => thread.close()));
console.log(JSON.stringify({ windows: plan.kept.size, oneSession, sessionPerThread }));

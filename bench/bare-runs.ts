import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { openSource } from "../src/cli/open-source.ts";
import { scalingOf } from "../src/inference/scaling.ts";
import { manifestSchema } from "../src/model-package/manifest.ts";
import { readShard } from "../src/orchestrator/map-shards.ts";
import { planJob } from "../src/orchestrator/plan-job.ts";
import { checkSettings } from "../src/orchestrator/settings.ts";
import { normaliseWindows } from "../src/tiling/normalise.ts";
import { planShards } from "../src/tiling/shards.ts";

/**
 * The floor: nothing but `session.run` over the windows of a job, inputs made beforehand, same batches, same threads.
 *   node bench/bare-runs.ts <slide> <package> <threads> [mpp]    prints {"windows", "seconds"}
 */
const [slide, packageDirectory, threads, mpp] = process.argv.slice(2);
const manifest = manifestSchema.parse(
  JSON.parse(readFileSync(join(packageDirectory!, "model.json"), "utf8")),
);
const variant = manifest.variants[manifest.defaultVariant]!;
const { source, close } = await openSource(slide!, mpp ? Number(mpp) : undefined);
const plan = await planJob(source, manifest, checkSettings({}));
const scaling = scalingOf(manifest, plan.scaling.low, plan.scaling.high);
const inputs = [];
for (const shard of planShards(plan.grid, plan.kept, plan.shardBlock)) {
  for (const batch of await readShard(source, plan, shard, 4, undefined)) {
    inputs.push(normaliseWindows(batch.pixels, manifest.input.channels, scaling));
  }
}
await close();
const session = await ort.InferenceSession.create(join(packageDirectory!, variant.files[0]!.path), {
  executionProviders: ["cpu"],
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  executionMode: "sequential",
});
const tensors = inputs.map(({ data, shape }) => new ort.Tensor("float32", data, shape));
// One run first: the session allocates its arena then.
(await session.run({ [variant.input]: tensors[0]! }))[variant.output]!.dispose();
const started = performance.now();
for (const tensor of tensors) (await session.run({ [variant.input]: tensor }))[variant.output]!.dispose();
const seconds = (performance.now() - started) / 1000;
console.log(JSON.stringify({ windows: plan.kept.size, seconds }));

/**
 * Overhead of the service on one machine: both Workers in workerd with a real slide, compared with onnxruntime-web alone on
 * the same windows.
 *   node bench/cloud.ts [--slide file] [--roi x,y,w,h] [--variant int4-edge]
 * Stop everything else first: both are compared by wall-clock time.
 */
import { readFileSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { startStack } from "../src/cli/stack/local-stack.ts";
import type { JobStatus } from "../src/contracts/job-request.ts";
import { toIntensityNormalization } from "../src/inference/intensity-normalization.ts";
import { OrtWebSegmenter } from "../src/inference/wasm/ort-web.ts";
import { openSource } from "../src/local/open-source.ts";
import { loadModel } from "../src/local/resolve-model.ts";
import { readShard, sliceBatch } from "../src/orchestrator/input/read-shard.ts";
import type { RunManifest } from "../src/orchestrator/manifest/run-manifest.ts";
import { edgeShardBlock } from "../src/orchestrator/map/edge-shards.ts";
import { planMergeBlocks } from "../src/orchestrator/map/merge-block.ts";
import { planJob } from "../src/orchestrator/plan/plan-job.ts";
import { checkSettings } from "../src/orchestrator/settings.ts";
import { planShards } from "../src/tiling/grid/shards.ts";

const { values: flags } = parseArgs({
  options: {
    slide: { type: "string", default: "../shared/data/slides/hamamatsu-ndpi/dapi.ndpi" },
    roi: { type: "string" },
    model: { type: "string", default: "models/nuclei" },
    variant: { type: "string", default: "int4-edge" },
  },
});
const TOKEN = "token-of-the-benchmark";
const roi = flags.roi?.split(",").map(Number) as [number, number, number, number] | undefined;
const settings = checkSettings({ roi });
const model = await loadModel(flags.model, { variant: flags.variant });
const { manifest } = model;

/** The windows of the job, read once. */
const opened = await openSource(flags.slide, undefined);
const plan = await planJob(opened.source, manifest, settings, {
  shardBlock: (about) => edgeShardBlock(about, manifest.classes.length, settings.precision),
});
const shards = [...planShards(plan.grid, plan.kept, plan.shardBlock)];
const windows = plan.kept.size;

/** Wall and CPU seconds of the model alone on the first windows of each shard, scaled to all windows. */
async function bare(): Promise<{ seconds: number; perWindow: number }> {
  const segmenter = await OrtWebSegmenter.create(model);
  const scaling = toIntensityNormalization(manifest, plan.scaling.low, plan.scaling.high);
  const each = Math.max(1, Math.ceil(96 / shards.length));
  let done = 0;
  let milliseconds = 0;
  for (const shard of shards) {
    const all = await readShard(opened.source, plan, shard, undefined);
    for (let n = 0; n < Math.min(each, all.windows.length); n++) {
      const { pixels } = sliceBatch(all, n, n + 1);
      if (done === 0) await segmenter.segment(pixels, { scaling });
      const before = segmenter.runMilliseconds;
      await segmenter.segment(pixels, { scaling });
      milliseconds += segmenter.runMilliseconds - before;
      done++;
    }
  }
  await segmenter.close();
  const perWindow = milliseconds / 1000 / done;
  return { seconds: perWindow * windows, perWindow };
}

/** Stored bytes of the tiles that the kept windows touch, each counted once. */
async function tileBytes(): Promise<number> {
  const fresh = await openSource(flags.slide, undefined);
  const before = fresh.source.bytesRead;
  for (const shard of planShards(plan.grid, plan.kept, [1, 1_000_000])) {
    await readShard(fresh.source, plan, shard, undefined);
  }
  const bytes = fresh.source.bytesRead - before;
  await fresh.close();
  return bytes;
}

/** User and system CPU seconds of all workerd processes that this process started. */
function workerdCpu(): number {
  const ticks = readChildren(process.pid).reduce((sum, pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return sum + Number(fields[11]) + Number(fields[12]);
  }, 0);
  return ticks / 100;
}

function workerdPeakBytes(): number {
  return Math.max(
    ...readChildren(process.pid).map(
      (pid) => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024,
    ),
  );
}

function readChildren(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
}

const first = await bare();
const touched = await tileBytes();
const state = await mkdtemp(join(tmpdir(), "tilewright-bench-cloud-"));
const stack = await startStack({
  state,
  host: "127.0.0.1",
  port: 0,
  model: flags.model,
  variant: flags.variant,
  jobs: { TOKENS: JSON.stringify([{ name: "bench", token: TOKEN, scopes: ["admin"] }]) },
  segment: { TOKEN },
});
try {
  const ask = async (path: string, init: RequestInit = {}) =>
    (
      await fetch(new URL(path, stack.url), {
        ...init,
        headers: { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json" },
      })
    ).json();
  const name = basename(flags.slide);
  const scans = await stack.miniflare.getR2Bucket("SCANS", "tilewright");
  const run = async (key: string, request: object) => {
    await scans.put(key, readFileSync(flags.slide));
    const before = { at: performance.now(), cpu: workerdCpu() };
    let job = (await ask("/v1/jobs", {
      method: "POST",
      body: JSON.stringify({ source: `r2://tilewright-scans/${key}`, model: manifest.name, ...request }),
    })) as JobStatus;
    const stages: Record<string, number> = {};
    let since = { state: job.state, cpu: before.cpu };
    while (job.state !== "done") {
      if (job.state !== since.state) {
        const cpu = workerdCpu();
        stages[since.state] = cpu - since.cpu;
        since = { state: job.state, cpu };
      }
      if (job.state === "failed") throw new Error(job.error!.message);
      await new Promise((resolve) => setTimeout(resolve, 200));
      job = (await ask(`/v1/jobs/${job.id}`)) as JobStatus;
    }
    stages[since.state] = workerdCpu() - since.cpu;
    return {
      id: job.id,
      stages,
      seconds: (performance.now() - before.at) / 1000,
      cpu: workerdCpu() - before.cpu,
    };
  };
  // The first window loads the model, once for each isolate and not for each job.
  const region0 = plan.region0;
  const [y, x] = region0.origin as [number, number];
  await run(`warm/${name}`, {
    settings: { roi: [x, y, 64, 64], tissueMask: false },
    outputs: ["labels.ome.zarr"],
  });
  const { id, seconds, cpu, stages } = await run(`bench/${name}`, { settings });
  const results = await stack.miniflare.getR2Bucket("RESULTS", "tilewright");
  const manifestJson = (await (await results.get(`results/${id}/run.json`))!.json()) as RunManifest;
  let objects = 0;
  let cursor: string | undefined;
  do {
    const page = await results.list({ prefix: `results/${id}/`, cursor });
    objects += page.objects.length;
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor);
  const second = await bare();
  const floor = (first.seconds + second.seconds) / 2;
  const merges = planMergeBlocks(plan).length;
  const messages = shards.length + merges + 2;
  const figures = {
    slide: name,
    windows,
    shards: shards.length,
    secondsCloud: seconds,
    cpuSecondsByStage: stages,
    secondsBare: floor,
    bareBefore: first.seconds,
    bareAfter: second.seconds,
    timeRatio: seconds / floor,
    // workerd runs the same WebAssembly slower than Node: the cost of the platform, apart from our overhead.
    secondsModelInWorkerd: manifestJson.seconds.model,
    timeRatioInWorkerd: seconds / manifestJson.seconds.model!,
    bytesOfTouchedTiles: touched,
    // Reads of the edge function including opening the source, and all reads: planning reads a thumbnail and samples too.
    bytesRatioShards: manifestJson.backends[0]!.bytesRead! / touched,
    bytesRatioAll: manifestJson.bytesRead / touched,
    queueOperationsPerWindow: (3 * messages) / windows,
    // The plan and the records of each shard, besides the results.
    objectsPerWindow: (objects + shards.length + 1) / windows,
    cpuMsPerWindow: (cpu / windows) * 1000,
    bareMsPerWindow: ((first.perWindow + second.perWindow) / 2) * 1000,
    workerdPeakMb: workerdPeakBytes() / 1e6,
    otherCpuMsPerWindow: (cpu / windows - (first.perWindow + second.perWindow) / 2) * 1000,
  };
  console.log(JSON.stringify(figures, undefined, 2));
} finally {
  await stack.stop();
  await opened.close();
  rmSync(state, { recursive: true, force: true });
}

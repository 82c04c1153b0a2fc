/**
 * Validates the simulation: the local stack runs one slide, which gives the time of each kind of task; the simulation
 * predicts another slide from those; then the stack runs that slide.
 *   node bench/scale-local.ts
 * Stop everything else first.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { startStack } from "../src/cli/stack/local-stack.ts";
import { bundleWorker } from "../src/cli/stack/worker-bundle.ts";
import type { JobStatus } from "../src/contracts/job-request.ts";
import { openSource } from "../src/local/open-source.ts";
import { loadModel } from "../src/local/resolve-model.ts";
import { edgeShardBlock } from "../src/orchestrator/map/edge-shards.ts";
import { planJob } from "../src/orchestrator/plan/plan-job.ts";
import { checkSettings } from "../src/orchestrator/settings.ts";
import { table } from "./scale/figures.ts";
import { loadWorkers } from "./scale/load-workers.ts";
import { type Line, measureDurations, tally } from "./scale/local-log.ts";
import { CLOUDFLARE, NO_FAULTS, type Platform } from "./scale/platform.ts";
import { simulate } from "./scale/simulate.ts";
import { type Slide, slideOf } from "./scale/slides.ts";

const { values: flags } = parseArgs({
  options: {
    measured: {
      type: "string",
      default: "../shared/data/slides/aperio-jpeg2000/tcga-cr-7395-01a-01-ts1.svs",
    },
    roi: { type: "string", default: "600,600,3000,2400" },
    predicted: { type: "string", default: "../shared/data/slides/hamamatsu-ndpi/dapi.ndpi" },
  },
});
const TOKEN = "token-of-the-benchmark";
const VARIANT = "int4-edge";
/** Settings of the local stack, for both. */
const LOCAL_BINDINGS = { STALL_SECONDS: "30", TASKS_AHEAD: "50" };
const model = await loadModel("nuclei", { variant: VARIANT });
const { manifest } = model;

interface Asked {
  file: string;
  mpp?: number;
  roi?: [number, number, number, number];
}

async function planOf({ file, mpp, roi }: Asked): Promise<Slide> {
  const { source, close } = await openSource(file, mpp);
  const settings = checkSettings({ roi });
  const plan = await planJob(source, manifest, settings, {
    shardBlock: (about) => edgeShardBlock(about, manifest.classes.length, settings.precision),
  });
  await close();
  return slideOf(plan);
}

const state = mkdtempSync(join(tmpdir(), "tilewright-scale-local-"));
const bundles = [
  await bundleWorker("bench/scale/instrumented-workers/jobs.toml"),
  await bundleWorker("bench/scale/instrumented-workers/segment.toml"),
];
let lines: Line[] = [];
const stack = await startStack({
  state,
  host: "127.0.0.1",
  port: 0,
  model: "models/nuclei",
  variant: VARIANT,
  bundles: { jobs: bundles[0]!.directory, segment: bundles[1]!.directory, remove: async () => {} },
  jobs: { ...LOCAL_BINDINGS, TOKENS: JSON.stringify([{ name: "bench", token: TOKEN, scopes: ["admin"] }]) },
  segment: { TOKEN },
  log: (text) => {
    if (text.startsWith("counted ")) lines.push({ at: performance.now(), text: text.slice(8) });
  },
});

/** Runs a slide. @returns its seconds and the counts from the logs */
async function real(key: string, { file, mpp, roi }: Asked, outputs?: string[]) {
  const scans = await stack.miniflare.getR2Bucket("SCANS", "tilewright");
  await scans.put(key, readFileSync(file));
  lines = [];
  const ask = async (path: string, init: RequestInit = {}) => {
    const headers = { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json" };
    return (await (await fetch(new URL(path, stack.url), { ...init, headers })).json()) as JobStatus;
  };
  const started = performance.now();
  const source = `r2://tilewright-scans/${key}`;
  const request = { source, model: manifest.name, mpp, settings: { roi }, outputs };
  let job = await ask("/v1/jobs", { method: "POST", body: JSON.stringify(request) });
  while (job.state !== "done") {
    if (job.state === undefined || job.error) throw new Error(JSON.stringify(job));
    await new Promise((resolve) => setTimeout(resolve, 50));
    // From the bucket, because calls of the ledger are counted.
    const results = await stack.miniflare.getR2Bucket("RESULTS", "tilewright");
    if (await results.head(`results/${job.id}/run.json`)) job = { ...job, state: "done" };
  }
  return { seconds: (performance.now() - started) / 1000, lines };
}

try {
  const first: Asked = {
    file: flags.measured,
    mpp: 0.25,
    roi: flags.roi.split(",").map(Number) as [number, number, number, number],
  };
  const second: Asked = { file: flags.predicted };
  // The model is loaded once for each isolate, not for each job.
  await real(`warm/${basename(first.file)}`, { ...first, roi: [1000, 1000, 300, 300] }, ["labels.ome.zarr"]);
  const slide = await planOf(first);
  const run = await real(`first/${basename(first.file)}`, first);
  const durations = measureDurations(run.lines, slide);
  console.log(`${basename(first.file)}: ${slide.windows} windows in ${run.seconds.toFixed(1)} s`, durations);

  const other = await planOf(second);
  const platform: Platform = {
    ...CLOUDFLARE,
    consumersPerQueue: 1,
    deliverMs: durations.deliver,
    callMs: 0,
    ledgerRowsPerSecond: 1e6,
    stepMs: durations.step,
  };
  const predicted = await simulate(
    {
      seed: 1,
      slides: [other],
      concurrency: 1,
      platform,
      durations: durations.tasks,
      faults: NO_FAULTS,
      bindings: LOCAL_BINDINGS,
    },
    await loadWorkers(),
  );
  const done = await real(`second/${basename(second.file)}`, second);
  const counted = tally(done.lines);
  const rows: [string, number, number][] = [
    ["seconds", predicted.seconds, done.seconds],
    ["messages handed out", predicted.queue.deliveries, counted.messages],
    [
      "calls of the ledger",
      predicted.ledger.calls - (predicted.ledger.callsOf.status ?? 0),
      counted.ledgerCalls,
    ],
    ["objects written", predicted.r2.writes, counted.writes],
  ];
  console.log(
    `${basename(second.file)}, ${other.windows} windows, ${other.shards.length} shards, ${other.merges.length} merges\n\n${table(
      rows,
      [
        ["", ([what]) => what],
        ["simulated", ([, n]) => `${Math.round(10 * n) / 10}`],
        ["run", ([, , n]) => `${Math.round(10 * n) / 10}`],
        ["simulated over run", ([, a, b]) => (a / b).toFixed(3)],
      ],
    )}`,
  );
  console.log(counted.ledgerCallsOf, predicted.ledger.callsOf, counted.r2);
} finally {
  await stack.stop();
  for (const bundle of bundles) await bundle.remove();
  rmSync(state, { recursive: true, force: true });
}

import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { median, node, runJson } from "./spawn-node.ts";

/**
 * End-to-end time relative to bare `session.run` calls for the same windows, in alternation, and to MONAI.
 *   node bench/end-to-end.ts --slide <file> [--mpp 0.25] [--model models/nuclei] [--rounds 3] [--python <interpreter>]
 */
const { values } = parseArgs({
  options: {
    slide: { type: "string", default: "../shared/data/slides/aperio-jpeg2000/tcga-cr-7395-01a-01-ts1.svs" },
    mpp: { type: "string", default: "0.25" },
    model: { type: "string", default: "models/nuclei" },
    rounds: { type: "string", default: "3" },
    threads: { type: "string", default: String(availableParallelism()) },
    python: { type: "string" },
  },
});
const { slide, mpp, model, threads, python } = values;
const out = mkdtempSync(join(tmpdir(), "tilewright-bench-"));
const LABELS = "labels.ome.zarr";
const EVERYTHING = "labels.ome.zarr,labels.ome.tiff,objects.geojson,measurements.csv,overlay.png";

interface Round {
  oneSession: number;
  sessionPerThread: number;
  labels: number;
  everything: number;
  merge: number;
  monai?: { total: number; model: number; peakBytes: number };
}
const rounds: Round[] = [];
let peakBytes = 0;
let windows = 0;
try {
  for (let i = 0; i < Number(values.rounds); i++) {
    const bare = await node("./raw-inference.ts", slide, model, threads, mpp);
    const labels = await node("./run-segment.ts", slide, model, join(out, "labels"), LABELS, mpp, threads);
    const everything = await node(
      "./run-segment.ts",
      slide,
      model,
      join(out, "all"),
      EVERYTHING,
      mpp,
      threads,
    );
    const monai = python
      ? await runJson(python, [
          new URL("./peers/monai_sliding_window.py", import.meta.url).pathname,
          slide,
          model,
          threads,
        ])
      : undefined;
    windows = bare.windows;
    peakBytes = Math.max(peakBytes, everything.peakBytes);
    // From the opened file to the last output, without loading the network on both sides.
    const whole = (s: Record<string, number>) => s.total! - s.loadModel!;
    const round = {
      oneSession: bare.oneSession,
      sessionPerThread: bare.sessionPerThread,
      labels: whole(labels.seconds),
      everything: whole(everything.seconds),
      merge: everything.seconds.merge,
      monai,
    };
    rounds.push(round);
    console.log(JSON.stringify(round));
  }
} finally {
  rmSync(out, { recursive: true, force: true });
}
const ratio = (pick: (r: Round) => number) => median(rounds.map(pick)).toFixed(3);
console.log(
  `${cpus()[0]!.model}, ${threads} threads, ${windows} windows, ${rounds.length} rounds, medians of per-round ratios`,
);
const seconds = (pick: (r: Round) => number) => `${median(rounds.map(pick)).toFixed(1)} s`;
console.log(`bare, one session          ${seconds((r) => r.oneSession)}`);
console.log(`bare, one session a thread ${seconds((r) => r.sessionPerThread)}`);
console.log(`file to label map          ${seconds((r) => r.labels)}`);
for (const floor of ["oneSession", "sessionPerThread"] as const) {
  console.log(`over ${floor}:`);
  console.log(`  file to label map        ${ratio((r) => r.labels / r[floor])}   (goal 1.05)`);
  console.log(`  every output             ${ratio((r) => r.everything / r[floor])}   (goal 1.15)`);
  console.log(`  merging                  ${ratio((r) => r.merge / r[floor])}   (goal 0.03)`);
}
console.log(`peak memory                ${(peakBytes / 1e9).toFixed(2)} GB`);
if (rounds[0]?.monai) {
  console.log(`MONAI total / its model    ${ratio((r) => r.monai!.total / r.monai!.model)}`);
  console.log(`MONAI total / ours         ${ratio((r) => r.monai!.total / r.labels)}`);
  console.log(
    `MONAI peak memory          ${(median(rounds.map((r) => r.monai!.peakBytes)) / 1e9).toFixed(2)} GB`,
  );
}

import { runCpuThread, startCpuThread } from "../src/inference/node/ort-node.ts";
import { loadModel } from "../src/local/resolve-model.ts";
import {
  importanceMap,
  Merger,
  planWindowGrid,
  product,
  WindowSet,
  windowCount,
} from "../src/tiling/index.ts";

/**
 * Time of merging relative to inference per window, each alone on one thread: grid of the 4443×3567 slide, noise records.
 *   node bench/merge.ts [package]
 */
const model = await loadModel(process.argv[2] ?? "nuclei");
const { size } = model.manifest.window;
const classes = model.manifest.classes.length;
const grid = planWindowGrid({ shape: [3567, 4443], window: size });
const windows = windowCount(grid);
const record = Uint8Array.from(
  { length: classes * product(size) },
  (_, i) => (Math.imul(i, 2654435761) >>> 24) & 255,
);
let covered = 0;
const merging: number[] = [];
for (let round = 0; round < 5; round++) {
  const started = performance.now();
  const merger = new Merger({
    grid,
    kept: WindowSet.all(windows),
    importance: importanceMap("gaussian-monai", size),
    classes,
    precision: "u8",
    chunk: [512, 512],
  });
  for (let w = 0; w < windows; w++) merger.add({ window: w, precision: "u8", data: record });
  covered += merger.finish().covered;
  merging.push((performance.now() - started) / windows);
}
const thread = await startCpuThread(model);
const inference: number[] = [];
for (let i = 0; i < 20; i++) {
  const shape = [1, model.manifest.input.channels, ...size];
  inference.push(
    (await runCpuThread(thread, { data: new Float32Array(product(shape)).fill(0.1 * i), shape }, undefined))
      .milliseconds,
  );
}
await thread.close();
const [merge, run] = [Math.min(...merging.slice(1)), Math.min(...inference.slice(2))];
console.log(
  `merging ${merge.toFixed(2)} ms a window, inference ${run.toFixed(1)} ms: ${((100 * merge) / run).toFixed(1)} % (goal 3 %; ${covered} samples)`,
);

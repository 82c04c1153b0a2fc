import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { InferenceError } from "../src/inference/errors.ts";
import { DeviceSegmenter } from "../src/inference/node/device-segmenter.ts";
import { openProvider, PROVIDERS } from "../src/inference/node/open-provider.ts";
import type { Segmenter } from "../src/inference/segmenter.ts";
import { loadModel } from "../src/local/resolve-model.ts";
import {
  encodeProbabilities,
  extractWindow,
  importanceMap,
  Merger,
  planWindowGrid,
  product,
  type Rect,
  WindowSet,
  windowCount,
  windowRect,
} from "../src/tiling/index.ts";
import { runJson } from "./spawn-node.ts";

/**
 * Windows per second of every available provider, from pixels in memory to a label map, and of PyTorch with MONAI's sliding
 * window on the same network and windows. Missing providers are reported.
 *   node bench/gpu.ts [--python <interpreter>] [--side 1736] [--batch 8] [--providers cuda,webgpu,cpu]
 * With --python the network is the uncompressed one of nuclei on both sides; without, the package that ships.
 */
const { values } = parseArgs({
  options: {
    python: { type: "string" },
    side: { type: "string", default: "1736" },
    batch: { type: "string", default: "8" },
    providers: { type: "string", default: PROVIDERS.join() },
  },
});
const [side, batch] = [Number(values.side), Number(values.batch)];
/** Batches in flight: two keep a device busy. */
const UNDER_WAY = 3;
const peer = new URL("./peers/gpu.py", import.meta.url).pathname;
const work = mkdtempSync(join(tmpdir(), "tilewright-gpu-"));
try {
  if (values.python) await runJson(values.python, [peer, "package", work]);
  const packageName = values.python ? work : "nuclei";
  console.log(
    `${side}×${side} pixels, batches of ${batch}; host: ${cpus()[0]!.model}, ${cpus().length} cores`,
  );
  for (const provider of values.providers.split(",")) {
    if (!PROVIDERS.some((p) => p === provider)) throw new Error(`there is no provider ${provider}`);
    const forms: [variant: string, half: "off" | "on"][] = values.python ? [["fp32", "off"]] : [];
    forms.push(["int4", "off"]);
    if (provider !== "cpu") forms.push(["int4", "on"]);
    for (const [variant, half] of forms) {
      const name = `${provider} ${variant}${half === "on" ? " fp16" : ""}`;
      try {
        await measure(name, provider as "cpu", packageName, variant, half);
      } catch (error) {
        if (!(error instanceof InferenceError)) throw error;
        console.log(`${name}: not here: ${error.message}`);
      }
    }
  }
  if (values.python) {
    const { device, torch, runs } = await runJson(values.python, [
      peer,
      "run",
      `${side}`,
      `${side}`,
      `${batch}`,
      "1",
    ]);
    for (const { precision, windows, seconds, inModel } of runs) {
      report(`PyTorch ${torch} ${precision} with MONAI, ${device}`, windows, seconds, seconds - inModel);
    }
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}

async function measure(
  name: string,
  provider: "cuda" | "webgpu" | "cpu",
  packageName: string,
  variant: string,
  half: "off" | "on",
): Promise<void> {
  const model = await loadModel(packageName, { variant, half: true });
  const segmenter = await openProvider(provider, model, { half });
  try {
    const runs = [];
    for (let round = 0; round < 3; round++) runs.push(await segmentImage(segmenter));
    const best = runs.slice(1).reduce((a, b) => (b.seconds < a.seconds ? b : a));
    report(`${name} (${segmenter.info.runtime})`, best.windows, best.seconds, best.around);
  } finally {
    await segmenter.close();
  }
}

/** Extracts, runs and merges every window of a noise image. `around`: seconds of this thread in extracting and merging. */
async function segmentImage(
  segmenter: Segmenter,
): Promise<{ windows: number; seconds: number; around: number }> {
  const { window, classes, channels } = segmenter.info;
  const shape = [side, side];
  const grid = planWindowGrid({ shape, window });
  const windows = windowCount(grid);
  const data = Uint8Array.from(
    { length: side * side * channels },
    (_, i) => Math.imul(i + 1, 2654435761) >>> 24,
  );
  const whole: Rect = { origin: [0, 0], size: shape };
  const merger = new Merger({
    grid,
    kept: WindowSet.all(windows),
    importance: importanceMap("gaussian-monai", [...window]),
    classes,
    precision: "u8",
    chunk: [512, 512],
  });
  const size = product(window);
  const scaling = { low: 0, high: 255, clip: [0, 1] as const, scale: 2, offset: -1 };
  let around = 0;
  const timed = <T>(work: () => T): T => {
    const started = performance.now();
    const result = work();
    around += (performance.now() - started) / 1000;
    return result;
  };
  const started = performance.now();
  const underWay: { first: number; bytes: Promise<Uint8Array> }[] = [];
  const mergeOldest = async () => {
    const { first, bytes } = underWay.shift()!;
    const records = await bytes;
    timed(() => {
      for (let at = 0; at < records.length; at += classes * size) {
        const record = records.subarray(at, at + classes * size);
        merger.add({ window: first + at / (classes * size), precision: "u8", data: record });
      }
    });
  };
  for (let first = 0; first < windows; first += batch) {
    const count = Math.min(batch, windows - first);
    const pixels = timed(() => {
      const cut = new Uint8Array(count * size * channels);
      for (let n = 0; n < count; n++) {
        const rect = windowRect(grid, first + n);
        const one = extractWindow({ data, shape: [...shape, channels] }, whole, rect, shape);
        cut.set(one.data as Uint8Array, n * size * channels);
      }
      return { data: cut, shape: [count, ...window, channels] };
    });
    const bytes =
      segmenter instanceof DeviceSegmenter
        ? segmenter.segmentToBytes(pixels, { scaling }).then((r) => r.data)
        : segmenter
            .segment(pixels, { scaling, precision: "u8" })
            .then((r) => encodeProbabilities(r.data, "u8") as Uint8Array);
    bytes.catch(() => {});
    underWay.push({ first, bytes });
    if (underWay.length >= UNDER_WAY) await mergeOldest();
  }
  while (underWay.length > 0) await mergeOldest();
  timed(() => merger.finish());
  return { windows, seconds: (performance.now() - started) / 1000, around };
}

function report(name: string, windows: number, seconds: number, around: number): void {
  const share = ((100 * around) / seconds).toFixed(1);
  console.log(
    `${name}: ${(windows / seconds).toFixed(1)} windows/s (${windows} in ${seconds.toFixed(2)} s; tiling and merging ${share} %)`,
  );
}

import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { zlibSync } from "fflate";
import type { ModelManifest } from "../src/model-package/manifest.ts";
import { node } from "./spawn-node.ts";

/**
 * Size, time and heap of the variants of a package in WebAssembly on one thread, compared with the original float32 network.
 *   node bench/compressed.ts models/nuclei --fp32 runs/nuclei-parent.onnx [--cap 64] [--runs 12] [--rounds 2]
 * The float32 file comes from model/export_onnx.py. Each measurement runs in its own process, whose WebAssembly heap is
 * limited to --cap MB (float32 network: 1 GB). Time is CPU seconds per window, the minimum of all runs and rounds.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    fp32: { type: "string" },
    cap: { type: "string", default: "64" },
    runs: { type: "string", default: "12" },
    rounds: { type: "string", default: "2" },
  },
});
const [packageDirectory] = positionals;
if (!packageDirectory || !values.fp32) throw new Error("usage: compressed.ts <package> --fp32 <model.onnx>");
const manifest: ModelManifest = JSON.parse(readFileSync(join(packageDirectory, "model.json"), "utf8"));
const files = [
  { name: "fp32", file: values.fp32, cap: "1024" },
  ...Object.entries(manifest.variants).map(([name, variant]) => ({
    name,
    file: join(packageDirectory, variant.files[0]!.path),
    cap: values.cap,
  })),
];
const best = new Map<string, { seconds: number; loadSeconds: number; heapBytes: number }>();
for (let round = 0; round < Number(values.rounds); round++) {
  for (const { name, file, cap } of files) {
    const size = String(manifest.window.size[0]);
    const run = await node("./run-wasm.ts", file, String(manifest.input.channels), size, cap, values.runs);
    const before = best.get(name);
    best.set(name, {
      seconds: Math.min(run.seconds, before?.seconds ?? Infinity),
      loadSeconds: Math.min(run.loadSeconds, before?.loadSeconds ?? Infinity),
      heapBytes: Math.max(run.heapBytes, before?.heapBytes ?? 0),
    });
  }
}
const bytesOf = (file: string) => readFileSync(file).length;
const whole = bytesOf(values.fp32);
console.log(
  `${manifest.name} ${manifest.version}, window ${manifest.window.size.join("×")}, onnxruntime-web, one thread`,
);
for (const { name, file, cap } of files) {
  const { seconds, loadSeconds, heapBytes } = best.get(name)!;
  const bytes = bytesOf(file);
  console.log(
    [
      name.padEnd(10),
      `${(bytes / 1e6).toFixed(2)} MB (${(whole / bytes).toFixed(1)}× smaller, ${(zlibSync(readFileSync(file), { level: 9 }).length / 1e6).toFixed(2)} MB zlib)`,
      `${(1000 * seconds).toFixed(0)} ms a window (${(best.get("fp32")!.seconds / seconds).toFixed(2)}× as fast)`,
      `load ${loadSeconds.toFixed(1)} s`,
      `heap ${(heapBytes / 2 ** 20).toFixed(0)} MiB of ${cap}`,
      basename(file),
    ].join("  "),
  );
}

import { readFileSync } from "node:fs";
import { capWasmMemory } from "../src/inference/wasm/wasm-memory.ts";

/**
 * Runs one graph in onnxruntime-web on one thread, in its own process, because the heap never shrinks.
 *   node bench/run-wasm.ts <model.onnx> <channels> <window> <cap in MB> [runs]
 * prints {"seconds" CPU seconds per window, min of runs, "loadSeconds", "heapBytes", "fileBytes"}
 */
const [file, channels, window, cap, runs] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string?,
];
const heap = capWasmMemory(Number(cap) * 2 ** 20);
const ort = await import("onnxruntime-web/wasm");
ort.env.wasm.numThreads = 1;
const bytes = readFileSync(file);
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
let since = cpu();
const session = await ort.InferenceSession.create(bytes, {
  executionProviders: ["wasm"],
  enableCpuMemArena: false,
  enableMemPattern: false,
});
const loadSeconds = cpu() - since;
const size = Number(window);
const data = Float32Array.from({ length: Number(channels) * size * size }, (_, i) => Math.sin(i * 0.37));
const pixels = new ort.Tensor("float32", data, [1, Number(channels), size, size]);
let seconds = Number.POSITIVE_INFINITY;
for (let run = 0; run < Number(runs ?? 12); run++) {
  since = cpu();
  await session.run({ [session.inputNames[0]!]: pixels });
  seconds = Math.min(seconds, cpu() - since);
}
console.log(JSON.stringify({ seconds, loadSeconds, heapBytes: heap.byteLength, fileBytes: bytes.length }));

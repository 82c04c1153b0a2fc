import { readFileSync } from "node:fs";
import { Engine, planGraph } from "../src/inference/engine/engine.ts";
import { loadKernels } from "../src/inference/node/engine-kernels.ts";

/**
 * Scores of windows on the engine for another program: float32 `[C, side, side]` on stdin → `[K, side, side]` on stdout.
 *   node bench/serve-engine.ts <model.onnx> <channels> <side> [plain]
 */
const [file, channels, side, build] = process.argv.slice(2) as [string, string, string, string?];
const shape = [1, Number(channels), Number(side), Number(side)];
const builds = await loadKernels();
const kernels = builds.find(({ relaxed }) => relaxed === (build !== "plain"))!;
const plan = planGraph(readFileSync(file), { input: "pixels", output: "logits", shape });
const engine = await Engine.create(plan, kernels);
const pixels = shape[2]! * shape[3]!;
const window = new Float32Array(shape[1]! * pixels);
const bytes = new Uint8Array(window.buffer);
let filled = 0;
for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
  for (let from = 0; from < chunk.length; ) {
    const count = Math.min(chunk.length - from, bytes.length - filled);
    bytes.set(chunk.subarray(from, from + count), filled);
    filled += count;
    from += count;
    if (filled < bytes.length) continue;
    filled = 0;
    const { input } = engine;
    for (let c = 0; c < shape[1]!; c++) {
      for (let i = 0; i < pixels; i++) input[i * shape[1]! + c] = window[c * pixels + i]!;
    }
    engine.run();
    process.stdout.write(new Uint8Array(engine.scores().buffer));
  }
}

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as ort from "onnxruntime-web/wasm";
import { Engine, type Kernels, planGraph } from "../src/inference/engine/engine.ts";
import { loadKernels } from "../src/inference/node/engine-kernels.ts";
import { capWasmMemory } from "../src/inference/wasm/wasm-memory.ts";

/**
 * The engine beside onnxruntime-web: both networks in the int4-edge form, one thread, in turns in one process. Times are of
 * the CPU, and the least of the runs, so that other processes count as little as possible.
 *   node bench/engine.ts [--runs 20] [--steps] [--plain] [--json]
 * --steps: the time of each kind of step. --plain: kernels without relaxed SIMD. --json: all of it in one line.
 */
const { values } = parseArgs({
  options: {
    runs: { type: "string" },
    steps: { type: "boolean" },
    plain: { type: "boolean" },
    json: { type: "boolean" },
  },
});
const runs = Number(values.runs ?? 20);
const MODELS = join(import.meta.dirname, "../models");
const builds = await loadKernels();
const kernels = builds.find(({ relaxed }) => relaxed !== Boolean(values.plain))!;

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const heap = capWasmMemory(128 * 2 ** 20);
ort.env.wasm.numThreads = 1;
const table = [];
const json = [];
for (const [name, side] of [
  ["nuclei", 224],
  ["hippocampus", 128],
] as const) {
  const bytes = readFileSync(join(MODELS, name, `${name}-int4-edge.onnx`));
  const shape = [1, 3, side, side];
  const pixels = Float32Array.from({ length: 3 * side * side }, (_, i) => Math.sin(i * 0.37));
  const { engine, plan, coldMs } = await startCold(bytes, shape, pixels);
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: ["wasm"],
    enableCpuMemArena: false,
    enableMemPattern: false,
  });
  const times = { engine: [] as number[], onnxruntime: [] as number[] };
  for (let run = 0; run < runs; run++) {
    let started = cpuMs();
    engine.run();
    engine.encoded();
    times.engine.push(cpuMs() - started);
    started = cpuMs();
    await session.run({ pixels: new ort.Tensor("float32", pixels, shape) });
    times.onnxruntime.push(cpuMs() - started);
  }
  await session.release();
  const least = (list: readonly number[]) => Math.min(...list);
  table.push({
    network: name,
    "engine ms": round(least(times.engine)),
    "onnxruntime-web ms": round(least(times.onnxruntime)),
    ratio: round(least(times.engine) / least(times.onnxruntime), 3),
    "engine MiB": round(engine.byteLength / 2 ** 20),
    "onnxruntime-web MiB": round(heap.byteLength / 2 ** 20),
    "engine cold ms": round(coldMs),
    steps: plan.calls.length,
  });
  const steps = values.steps || values.json ? stepTimes(engine) : [];
  if (values.steps) console.table(steps);
  json.push({
    network: name,
    engineMs: least(times.engine),
    onnxruntimeMs: least(times.onnxruntime),
    engineMiB: engine.byteLength / 2 ** 20,
    onnxruntimeMiB: heap.byteLength / 2 ** 20,
    coldMs,
    steps,
  });
}
if (values.json) console.log(JSON.stringify(json));
else console.table(table);

/** From the bytes of the file to the first probabilities. */
async function startCold(bytes: Uint8Array, shape: readonly number[], pixels: Float32Array) {
  const started = cpuMs();
  const plan = planGraph(bytes, { input: "pixels", output: "logits", shape });
  const engine = await Engine.create(plan, kernels satisfies Kernels);
  engine.input.set(pixels);
  engine.run();
  engine.encoded();
  return { engine, plan, coldMs: cpuMs() - started };
}

/** The least time of each step over the runs, summed by kernel. */
function stepTimes(engine: Engine) {
  const profiles = Array.from({ length: runs }, () => engine.profile());
  const sums = new Map<string, { calls: number; ms: number; macs: number; best: number }>();
  for (const [i, { kernel, macs }] of profiles[0]!.entries()) {
    const sum = sums.get(kernel) ?? { calls: 0, ms: 0, macs: 0, best: 0 };
    const ms = Math.min(...profiles.map((profile) => profile[i]!.milliseconds));
    sum.calls++;
    sum.ms += ms;
    sum.macs += macs;
    // Shorter steps say nothing about a rate.
    if (ms > 0.05) sum.best = Math.max(sum.best, macs / ms);
    sums.set(kernel, sum);
  }
  return [...sums]
    .sort(([, a], [, b]) => b.ms - a.ms)
    .map(([kernel, { calls, ms, macs, best }]) => ({
      kernel,
      calls,
      ms: round(ms, 2),
      MMAC: round(macs / 1e6),
      "GMAC/s": macs ? round(macs / ms / 1e6) : undefined,
      // All at the rate of the fastest step of the kernel.
      "bound ms": best ? round(macs / best, 2) : undefined,
    }));
}

function round(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}

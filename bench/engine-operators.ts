import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Time of a window in onnxruntime-web by operator, from the runtime's own profiler, which prints when a session's profiling ends.
 *   node bench/engine-operators.ts [nuclei|hippocampus] [--runs 5]
 * The least time of each node over the runs, summed by operator; multiply-accumulates from the shapes that the profile states. The
 * bound of an operator is that many at the rate of the engine's inner loop: 27 GMAC/s in float32, and 43 in 8 bits (AMD EPYC of
 * the fourth generation, one thread; the loops alone, over 784×192×768).
 */
export const F32_GMACS = 27;
export const I8_GMACS = 43;

interface ProfiledNode {
  name: string;
  dur: number;
  args: {
    op_name: string;
    node_index: string;
    input_type_shape: Record<string, number[]>[];
    output_type_shape: Record<string, number[]>[];
  };
}

const WINDOWS: Record<string, number> = { nuclei: 224, hippocampus: 128 };

/** Rows of the table, the longest first. */
export function operatorTimes(name: string, runs: number) {
  const args = [fileURLToPath(import.meta.url), "profile", name, String(runs)];
  const { stdout, status } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    maxBuffer: 2 ** 30,
    stdio: ["ignore", "pipe", "ignore"],
  });
  if (status !== 0) throw new Error(`the profile of ${name} ended with ${status}`);
  // The profiler's JSON is cut by lines of other origin.
  const nodes = stdout
    .split("\n")
    .filter((line) => line.startsWith('{"cat" : "Node"'))
    .map((line) => JSON.parse(line.replace(/,$/, "")) as ProfiledNode)
    .filter((node) => node.name.endsWith("_kernel_time"));
  const least = new Map<string, ProfiledNode>();
  for (const node of nodes) {
    const key = `${node.args.node_index} ${node.name}`;
    const known = least.get(key);
    if (known === undefined || node.dur < known.dur) least.set(key, node);
  }
  const sums = new Map<string, { calls: number; ms: number; macs: number }>();
  for (const node of least.values()) {
    const operator = node.args.op_name;
    const sum = sums.get(operator) ?? { calls: 0, ms: 0, macs: 0 };
    sum.calls++;
    sum.ms += node.dur / 1000;
    sum.macs += macsOf(node);
    sums.set(operator, sum);
  }
  return [...sums]
    .sort(([, a], [, b]) => b.ms - a.ms)
    .map(([operator, { calls, ms, macs }]) => ({
      operator,
      calls,
      ms: round(ms),
      MMAC: macs ? Math.round(macs / 1e6) : undefined,
      "GMAC/s": macs ? round(macs / ms / 1e6) : undefined,
      "bound ms": macs
        ? round(macs / 1e6 / (/Quant|Integer/.test(operator) ? I8_GMACS : F32_GMACS))
        : undefined,
    }));
}

/** Multiply-accumulates of a node. */
function macsOf({ args }: ProfiledNode): number {
  const shape = (list: Record<string, number[]>[], i: number) => Object.values(list[i] ?? {})[0] ?? [];
  const product = (values: readonly number[]) => values.reduce((a, b) => a * b, 1);
  const output = product(shape(args.output_type_shape, 0));
  if (/Conv$/.test(args.op_name)) return output * product(shape(args.input_type_shape, 1).slice(1));
  if (/MatMul/.test(args.op_name)) return output * (shape(args.input_type_shape, 0).at(-1) ?? 0);
  return 0;
}

function round(value: number): number {
  return Number(value.toFixed(2));
}

/** In a process of its own, because the profile goes to the standard output. */
async function profile(name: string, runs: number): Promise<void> {
  const ort = await import("onnxruntime-web/wasm");
  ort.env.wasm.numThreads = 1;
  const bytes = readFileSync(join(import.meta.dirname, `../models/${name}/${name}-int4-edge.onnx`));
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: ["wasm"],
    enableCpuMemArena: false,
    enableMemPattern: false,
    enableProfiling: true,
  });
  const side = WINDOWS[name]!;
  const data = Float32Array.from({ length: 3 * side * side }, (_, i) => Math.sin(i * 0.37));
  for (let run = 0; run < runs; run++) {
    await session.run({ pixels: new ort.Tensor("float32", data, [1, 3, side, side]) });
  }
  (session as unknown as { endProfiling(): void }).endProfiling();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [first, ...rest] = process.argv.slice(2);
  if (first === "profile") await profile(rest[0]!, Number(rest[1]));
  else {
    const at = process.argv.indexOf("--runs");
    console.table(
      operatorTimes(first && first in WINDOWS ? first : "nuclei", at < 0 ? 5 : Number(process.argv[at + 1])),
    );
  }
}

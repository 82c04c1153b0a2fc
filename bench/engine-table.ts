import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { operatorTimes } from "./engine-operators.ts";
import { node } from "./spawn-node.ts";

/**
 * The engine beside onnxruntime-web, in one table with its goals: time, memory, size, accuracy; then the time of a window of nuclei
 * by operator on both, with what arithmetic alone would take. It runs the other benches of the engine, each in its own process.
 *   npm run bench:engine -- [--quick] [--python <interpreter>] [--slide <NDPI>]
 * --python: one with numpy and onnxruntime, for the scores on the validation split. A part that cannot run here is named.
 */
const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    python: { type: "string", default: process.env.TILEWRIGHT_PYTHON },
    slide: {
      type: "string",
      default: join(import.meta.dirname, "../../shared/data/slides/hamamatsu-ndpi/dapi.ndpi"),
    },
  },
});
const runs = flags.quick ? 5 : 30;
const rows: { what: string; engine: string; "onnxruntime-web": string; ratio: string; goal: string }[] = [];
const missing: string[] = [];

function row(what: string, engine: string, other: string, ratio: number | undefined, goal: string): void {
  rows.push({ what, engine, "onnxruntime-web": other, ratio: ratio?.toFixed(2) ?? "", goal });
}

/** A part of the table; a failure is named below it. */
async function part(name: string, work: () => void | Promise<void>): Promise<void> {
  console.error(`${name} …`);
  try {
    await work();
  } catch (error) {
    missing.push(`${name}: ${(error as Error).message.split("\n")[0]}`);
  }
}

interface Window {
  network: string;
  engineMs: number;
  onnxruntimeMs: number;
  engineMiB: number;
  onnxruntimeMiB: number;
  coldMs: number;
  steps: { kernel: string; calls: number; ms: number; macs: number }[];
}
let windows: Window[] = [];
await part("a window in Node", async () => {
  windows = await node("./engine.ts", "--json", "--runs", String(runs));
  for (const w of windows) {
    row(
      `window of ${w.network}, Node`,
      `${w.engineMs.toFixed(1)} ms`,
      `${w.onnxruntimeMs.toFixed(1)} ms`,
      w.engineMs / w.onnxruntimeMs,
      "≤ 0.40",
    );
  }
});
await part("the edge function in workerd", async () => {
  const table: Record<string, string | number>[] = await node(
    "./engine-workerd.ts",
    flags.quick ? "3" : "12",
    "--json",
  );
  const of = (runtime: string, network: string, column: string) =>
    Number(table.find((one) => one.runtime === runtime && one.network === network)![column]);
  for (const network of ["nuclei", "hippocampus"]) {
    const [engine, other] = ["engine", "onnxruntime-web"].map((r) => of(r, network, "CPU ms a window")) as [
      number,
      number,
    ];
    row(`window of ${network}, workerd`, `${engine} ms`, `${other} ms`, engine / other, "≤ 0.42");
  }
  const [cold, otherCold] = ["engine", "onnxruntime-web"].map((r) =>
    of(r, "nuclei", "first request, CPU ms"),
  ) as [number, number];
  row("first request of an isolate, nuclei", `${cold} ms`, `${otherCold} ms`, cold / otherCold, "");
  const [size, otherSize] = ["engine", "onnxruntime-web"].map((r) => of(r, "nuclei", "bundle KiB")) as [
    number,
    number,
  ];
  row(
    "bundle of the edge function",
    `${size} KiB`,
    `${otherSize} KiB`,
    size / otherSize,
    "≤ 1465 KiB (1.5 MB)",
  );
});
await part("WebAssembly", () => {
  const size = (path: string) => statSync(join(import.meta.dirname, "..", path)).size;
  const kernels = size("src/inference/engine/kernels-relaxed.wasm");
  const other = size("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm");
  row("WebAssembly", `${kernels} bytes`, `${other} bytes`, kernels / other, "≤ 300 000 bytes");
});
for (const w of windows) {
  row(
    `from the file to the first mask, ${w.network}`,
    `${w.coldMs.toFixed(0)} ms`,
    "",
    undefined,
    "≤ 500 ms",
  );
  row(
    `linear memory, ${w.network}`,
    `${w.engineMiB.toFixed(1)} MiB`,
    `${w.onnxruntimeMiB.toFixed(0)} MiB, the larger of both networks so far`,
    undefined,
    "≤ 24 MiB",
  );
}
for (const name of ["nuclei", "hippocampus"])
  await part(`Dice of ${name} on the validation split`, () => dice(name));
await part("segment on a region of a slide", async () => {
  const more = flags.quick ? ["--rounds", "1", "--side", "1008"] : [];
  const run = await node("./engine-segment.ts", ...more, flags.slide);
  row(
    `segment, ${run.windows} windows, one thread; beside onnxruntime-node`,
    `${run.wasmSeconds.toFixed(1)} s`,
    `(node: ${run.cpuSeconds.toFixed(1)} s)`,
    run.ratio,
    "≤ 1.25",
  );
});
console.table(rows);
for (const line of missing) console.log(`not measured: ${line}`);
await part("time by operator", () => {
  console.log("A window of nuclei in onnxruntime-web, by its profiler:");
  console.table(operatorTimes("nuclei", flags.quick ? 3 : 20));
  console.log(
    "The same window on the engine; the bound of a kernel is its multiply-accumulates at the best rate of any of its steps:",
  );
  console.table(windows.find(({ network }) => network === "nuclei")?.steps);
});

function dice(name: string): void {
  if (!flags.python) throw new Error("give --python, or set TILEWRIGHT_PYTHON");
  const directory = mkdtempSync(join(tmpdir(), "tilewright-dice-"));
  try {
    const json = join(directory, "scores.json");
    const args = ["bench/engine_accuracy.py", `models/${name}`, "--ort", "--json", json];
    const { status, stderr } = spawnSync(flags.python, [...args, ...(flags.quick ? ["--limit", "4"] : [])], {
      cwd: join(import.meta.dirname, ".."),
      encoding: "utf8",
      stdio: ["ignore", "ignore", "pipe"],
    });
    if (status !== 0) throw new Error(stderr.trim().split("\n").at(-1));
    const scores = JSON.parse(readFileSync(json, "utf8"));
    for (const [key, engine] of diceOf(scores.engine)) {
      const other = new Map(diceOf(scores.onnxruntime)).get(key)!;
      row(
        `Dice of ${name}, ${key}`,
        engine.toFixed(4),
        `${other.toFixed(4)} (onnxruntime)`,
        undefined,
        "within 0.001",
      );
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Every number called "dice" in a table of scores, with the path to it. */
function diceOf(scores: unknown, path = ""): [string, number][] {
  // Arrays hold the scores of single pictures.
  if (typeof scores !== "object" || scores === null || Array.isArray(scores)) return [];
  return Object.entries(scores).flatMap(([key, value]): [string, number][] => {
    if (key === "dice" && typeof value === "number") return [[path || "all", value]];
    return diceOf(value, path ? `${path} ${key}` : key);
  });
}

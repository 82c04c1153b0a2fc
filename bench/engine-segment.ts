import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { segment } from "../src/index.ts";
import { median, node } from "./spawn-node.ts";

/**
 * `segment` on the engine beside `segment` on onnxruntime-node: a region of a slide, the int4-edge variant of nuclei, one thread
 * each, in turns, each run in a process of its own.
 *   node bench/engine-segment.ts [--rounds 3] [--side 2016] [<slide>]
 * prints a line for people and one of JSON. CPU time counts all threads of the process: reading, network, merging, outputs.
 */
const SLIDE = join(import.meta.dirname, "../../shared/data/slides/hamamatsu-ndpi/dapi.ndpi");

if (process.argv[2] === "run") {
  const [slide, backend, side] = process.argv.slice(3) as [string, string, string];
  const out = mkdtempSync(join(tmpdir(), "tilewright-engine-"));
  try {
    const started = process.cpuUsage();
    const { plan, seconds, backends } = await segment({
      ...{
        source: slide,
        model: "nuclei",
        variant: "int4-edge",
        out,
        outputs: ["labels.ome.zarr"],
        force: true,
      },
      ...{ backends: [backend], threads: 1, tissueMask: false, roi: [0, 0, Number(side), Number(side)] },
    });
    const { user, system } = process.cpuUsage(started);
    const runtime = backends[0]?.runtime;
    console.log(
      JSON.stringify({ windows: plan.windows, cpuSeconds: (user + system) / 1e6, seconds, runtime }),
    );
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
} else {
  const rest = process.argv.slice(2);
  const value = (name: string, fallback: string) => {
    const at = rest.indexOf(name);
    return at < 0 ? fallback : rest.splice(at, 2)[1]!;
  };
  const rounds = Number(value("--rounds", "3"));
  const side = value("--side", "2016");
  const slide = rest[0] ?? SLIDE;
  const cpu: Record<"wasm" | "cpu", number[]> = { wasm: [], cpu: [] };
  let windows = 0;
  const runtimes: Record<string, string> = {};
  for (let round = 0; round < rounds; round++) {
    for (const backend of ["wasm", "cpu"] as const) {
      const run = await node("./engine-segment.ts", "run", slide, backend, side);
      ({ windows } = run);
      runtimes[backend] = run.runtime;
      cpu[backend].push(run.cpuSeconds);
    }
  }
  const ratio = median(cpu.wasm.map((seconds, i) => seconds / cpu.cpu[i]!));
  console.error(
    `${windows} windows: ${median(cpu.wasm).toFixed(1)} s of CPU on ${runtimes.wasm}, ${median(cpu.cpu).toFixed(1)} s on ${runtimes.cpu}: ${ratio.toFixed(2)}`,
  );
  console.log(
    JSON.stringify({ windows, wasmSeconds: median(cpu.wasm), cpuSeconds: median(cpu.cpu), ratio, runtimes }),
  );
}

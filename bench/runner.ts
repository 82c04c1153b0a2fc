import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { toIntensityNormalization } from "../src/inference/intensity-normalization.ts";
import { OrtNodeSegmenter } from "../src/inference/node/ort-node.ts";
import { RemoteSegmenter } from "../src/inference/remote/remote-segmenter.ts";
import type { Segmenter } from "../src/inference/segmenter.ts";
import { loadModel } from "../src/local/resolve-model.ts";
import { product } from "../src/tiling/index.ts";
import { median } from "./spawn-node.ts";

/**
 * Cost of HTTP: windows/s of a runner on the CPU in its own process, compared with the same runtime in this process. Same
 * model, windows and threads, in alternation; both produce records of one byte a class and pixel.
 *   node --max-semi-space-size=8 bench/runner.ts [--windows 64] [--rounds 7] [--threads n] [--per-request 8]
 */
const { values } = parseArgs({
  options: {
    model: { type: "string", default: "nuclei" },
    windows: { type: "string", default: "64" },
    rounds: { type: "string", default: "7" },
    threads: { type: "string", default: String(availableParallelism()) },
    "per-request": { type: "string", default: "8" },
  },
});
const [windows, rounds, threads, perRequest] = [
  values.windows,
  values.rounds,
  values.threads,
  values["per-request"],
].map(Number) as [number, number, number, number];

const model = await loadModel(values.model);
const { channels } = model.manifest.input;
const shape = [...model.manifest.window.size, channels];
const samples = product(shape);
/** Seeded noise: the time of a network does not depend on its input, but the input must not be constant. */
const pixels = Uint8Array.from(
  { length: windows * samples },
  (_, i) => (Math.imul(i, 2654435761) >>> 24) & 255,
);
const scaling = toIntensityNormalization(model.manifest, 0, 255);

/** Segments all windows, `count` in a request, with concurrent requests. @returns windows/s and a sum against dead code */
async function measure(
  segmenter: Required<Pick<Segmenter, "segmentEncoded">>,
  count: number,
  atOnce: number,
): Promise<{ rate: number; sum: number }> {
  let next = 0;
  let sum = 0;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (next < windows) {
        const first = next;
        const n = Math.min(count, windows - first);
        next += n;
        const data = pixels.subarray(first * samples, (first + n) * samples);
        // Records, as a run requests them for the merger.
        const options = { scaling, precision: "u8" } as const;
        const result = await segmenter.segmentEncoded({ data, shape: [n, ...shape] }, options);
        for (const bytes of result.data) sum += bytes[bytes.length >> 1]!;
        // Detached, as by the merger.
        for (const buffer of new Set(result.data.map((bytes) => bytes.buffer as ArrayBuffer)))
          buffer.transfer(0);
      }
    }),
  );
  return { rate: (1000 * windows) / (performance.now() - started), sum };
}

const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
const child = spawn(
  process.execPath,
  [
    "--max-semi-space-size=8",
    main,
    "runner",
    "--port",
    "0",
    "--model",
    values.model,
    "--sessions",
    String(threads),
  ],
  { stdio: ["ignore", "pipe", "ignore"] },
);
try {
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (bytes) => resolve(/runner at (\S+):/.exec(String(bytes))![1]!));
    child.once("close", (code) => reject(new Error(`the runner ended with ${code}`)));
  });
  const remote = await RemoteSegmenter.connect(url, { token: "none", modelHash: model.hash });
  const local = await OrtNodeSegmenter.create(model, { threads });
  const atOnce = Math.ceil((2 * threads) / perRequest) + 1;
  const rates: { local: number[]; remote: number[] } = { local: [], remote: [] };
  const cpu: { local: number[]; client: number[]; server: number[] } = { local: [], client: [], server: [] };
  const serverCpu = async () => {
    const metrics = await (await fetch(new URL("/metrics", url))).text();
    return 1000 * Number(/^process_cpu_seconds_total\{.*\} (\S+)$/m.exec(metrics)![1]);
  };
  const ownCpu = (since?: NodeJS.CpuUsage) => {
    const { user, system } = process.cpuUsage(since);
    return (user + system) / 1000;
  };
  for (let round = -1; round < rounds; round++) {
    // As on the command line: one window a batch, two batches more than threads.
    let before = process.cpuUsage();
    const here = await measure(local, 1, threads + 2);
    const cpuHere = ownCpu(before);
    before = process.cpuUsage();
    const serverBefore = await serverCpu();
    const there = await measure(remote, perRequest, atOnce);
    const cpuClient = ownCpu(before);
    const cpuServer = (await serverCpu()) - serverBefore;
    if (here.sum !== there.sum) throw new Error("the runner's records are others than those of this process");
    if (round < 0) continue;
    rates.local.push(here.rate);
    rates.remote.push(there.rate);
    cpu.local.push(cpuHere / windows);
    cpu.client.push(cpuClient / windows);
    cpu.server.push(cpuServer / windows);
  }
  await local.close();
  const ratios = rates.remote.map((rate, i) => rate / rates.local[i]!);
  console.log(
    `${windows} windows, ${threads} threads, ${rounds} rounds in turns: in this process ${median(rates.local).toFixed(2)} windows/s, behind HTTP ${median(rates.remote).toFixed(2)} (${perRequest} a request, ${atOnce} at once): ${median(ratios).toFixed(3)} of it (${Math.min(...ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)}; goal 0.95)`,
  );
  console.log(
    `CPU time of a window: ${median(cpu.local).toFixed(1)} ms in this process; behind HTTP ${median(cpu.server).toFixed(1)} ms in the runner and ${median(cpu.client).toFixed(1)} ms in its client`,
  );
} finally {
  child.kill("SIGTERM");
}

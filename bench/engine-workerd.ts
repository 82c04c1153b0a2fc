import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { bundleWorker, COMPATIBILITY_DATE, readModules } from "../src/cli/stack/worker-bundle.ts";
import { toIntensityNormalization } from "../src/inference/intensity-normalization.ts";
import { loadModel } from "../src/local/resolve-model.ts";
import { encodeWindowBatch, WINDOW_BATCH_TYPE } from "../src/tiling/wire/window-batch.ts";

/**
 * The edge function in workerd on both runtimes: CPU time of a window over HTTP, and of the first request, which loads the
 * model and runs its golden tile. On Linux.
 *   node bench/engine-workerd.ts [requests] [--json]
 */
const requests = Number(process.argv.slice(2).find((argument) => /^\d+$/.test(argument)) ?? 12);
/** In one request, so that HTTP counts little. */
const WINDOWS = 4;
const TOKEN = "a-token-for-a-benchmark";
const CONFIG = "src/edge/segment/wrangler.toml";
const MODELS = join(import.meta.dirname, "../models");

const table = [];
for (const [runtime, entry] of [
  ["engine", undefined],
  ["onnxruntime-web", "src/edge/segment/worker-onnxruntime.ts"],
] as const) {
  const bundle = await bundleWorker(CONFIG, { entry });
  const kib = Number(/Total Upload: ([\d.]+) KiB/.exec(bundle.log)![1]);
  const gzipKib = Number(/gzip: ([\d.]+) KiB/.exec(bundle.log)![1]);
  for (const name of ["nuclei", "hippocampus"]) {
    const { coldMs, windowMs } = await measure(bundle.directory, name);
    table.push({
      runtime,
      network: name,
      "CPU ms a window": round(windowMs),
      "first request, CPU ms": round(coldMs),
      "bundle KiB": round(kib),
      "gzipped KiB": round(gzipKib),
    });
  }
  await bundle.remove();
}
if (process.argv.includes("--json")) console.log(JSON.stringify(table));
else console.table(table);

async function measure(directory: string, name: string): Promise<{ coldMs: number; windowMs: number }> {
  const model = await loadModel(join(MODELS, name), { variant: "int4-edge" });
  const worker = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      cf: false,
      ...(await readModules(directory)),
      compatibilityDate: COMPATIBILITY_DATE,
      bindings: { MODEL: name, VARIANT: "int4-edge", TOKEN },
      r2Buckets: ["MODELS"],
    }),
  );
  try {
    const url = await worker.ready;
    const bucket = await worker.getR2Bucket("MODELS");
    for (const file of readdirSync(join(MODELS, name), { recursive: true, withFileTypes: true })) {
      if (!file.isFile()) continue;
      const path = join(file.parentPath, file.name);
      await bucket.put(path.slice(MODELS.length + 1), readFileSync(path));
    }
    const headers = { Authorization: `Bearer ${TOKEN}`, "Content-Type": WINDOW_BATCH_TYPE };
    let before = childrenCpuMs();
    const info = await fetch(new URL("/v1/info", url), { headers });
    if (!info.ok) throw new Error(`the edge function answers ${info.status}: ${await info.text()}`);
    const coldMs = childrenCpuMs() - before;
    const { input, spec } = model.golden;
    const body = encodeWindowBatch({
      model: model.hash,
      variant: "int4-edge",
      precision: "u8",
      windows: Array.from({ length: WINDOWS }, (_, n) => n),
      scaling: toIntensityNormalization(model.manifest, spec.input.low, spec.input.high),
      pixels: {
        data: Uint8Array.from({ length: WINDOWS * input.length }, (_, i) => input[i % input.length]!),
        shape: [WINDOWS, ...spec.input.shape.slice(1)],
      },
    }) as Uint8Array<ArrayBuffer>;
    let least = Number.POSITIVE_INFINITY;
    for (let n = 0; n < requests; n++) {
      before = childrenCpuMs();
      const response = await fetch(new URL("/v1/segment", url), { method: "POST", headers, body });
      await response.arrayBuffer();
      if (!response.ok) throw new Error(`the edge function answers ${response.status}`);
      least = Math.min(least, (childrenCpuMs() - before) / WINDOWS);
    }
    return { coldMs, windowMs: least };
  } finally {
    await worker.dispose();
  }
}

/** CPU time of the child processes that run now (workerd), in steps of 10 ms. */
function childrenCpuMs(): number {
  let ticks = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      // The name in brackets may hold spaces: fields count from behind it.
      const fields = readFileSync(`/proc/${name}/stat`, "utf8")
        .replace(/^.*\) /s, "")
        .split(" ");
      if (Number(fields[1]) === process.pid) ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It has ended meanwhile.
    }
  }
  return ticks * 10;
}

function round(value: number): number {
  return Number(value.toFixed(1));
}

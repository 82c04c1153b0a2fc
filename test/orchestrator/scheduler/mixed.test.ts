import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Miniflare } from "miniflare";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Runner } from "../../../gpu-runner/start.ts";
import { type ProgressEvent, type SegmentOptions, segment } from "../../../src/index.ts";
import { loadModel } from "../../../src/local/resolve-model.ts";
import { writePointwisePackage } from "../../builders/pointwise-package.ts";
import { readLabels } from "../../builders/read-labels.ts";
import { writeMadeSlide } from "../../builders/slide.ts";
import { treeHashes } from "../../builders/tree-hashes.ts";
import { type Bundle, bundleWorker, runWorker, upload } from "../../edge/run-worker.ts";
import { runRunner } from "../../gpu-runner/run-runner.ts";
import { openUnrulyProxy, type Unruly, type UnrulyProxy } from "./faulty-proxy.ts";

/** Real backends together: this machine, an edge function in workerd, runners behind HTTP; some of them badly behaved. */
const TOKEN = "token-of-the-fleet-of-the-tests";
let directory: string;
let slide: string;
let model: string;
let bundle: Bundle;
let edge: Miniflare;
let edgeUrl: string;
let runner: Runner;
let expected: Record<string, string>;
const proxies: UnrulyProxy[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-fleet-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 1400, height: 1100 }).path;
  model = writePointwisePackage(join(directory, "pointwise"), { window: 64 });
  bundle = await bundleWorker("src/edge/segment/wrangler.toml");
  edge = await runWorker(bundle, { buckets: ["MODELS"], bindings: { MODEL: "pointwise", TOKEN } });
  await upload(edge, "MODELS", model, "pointwise/");
  edgeUrl = (await edge.ready).href;
  runner = (await runRunner(await loadModel(model), { token: TOKEN })).runner;
  expected = treeHashes((await run({ backends: ["cpu"] })).out);
}, 300_000);
afterEach(async () => void (await Promise.all(proxies.splice(0).map((proxy) => proxy.close()))));
afterAll(async () => {
  await runner?.stop();
  await edge?.dispose();
  await bundle?.remove();
  rmSync(directory, { recursive: true, force: true });
});

let runs = 0;
async function run(options: Partial<SegmentOptions>) {
  const out = join(directory, `out-${runs++}`);
  const told: ProgressEvent[] = [];
  const manifest = await segment({
    source: slide,
    model,
    out,
    threads: 1,
    token: TOKEN,
    tissueMask: false,
    outputs: ["labels.ome.zarr", "objects.geojson", "measurements.csv"],
    onProgress: (event) => told.push(event),
    ...options,
  });
  const windows = (name: string) => manifest.backends.find((b) => b.name?.startsWith(name))?.windows ?? 0;
  return { out, manifest, windows, lost: told.filter((event) => event.type === "backend") };
}

async function spoiled(behave: (nth: number) => Unruly): Promise<UnrulyProxy> {
  const proxy = await openUnrulyProxy(runner.url);
  proxy.behave = behave;
  proxies.push(proxy);
  return proxy;
}

describe("a mixed fleet", () => {
  it("gives the bytes of one machine: local and runner on the same provider", async () => {
    const { out, manifest, windows } = await run({ backends: ["local", `runner:${runner.url}`] });
    expect(treeHashes(out)).toEqual(expected);
    expect(windows("cpu")).toBeGreaterThan(0);
    expect(windows("runner:")).toBeGreaterThan(0);
    const remote = manifest.backends.find((b) => b.name!.startsWith("runner:"))!;
    expect(remote).toMatchObject({ errors: {}, runtime: expect.stringMatching(/cpu at 127\.0\.0\.1/) });
    // Pixels out, and a byte a class and pixel back.
    expect(remote.bytesSent! / remote.windows).toBeGreaterThan(64 * 64 * 3);
    expect(remote.bytesReceived! / (remote.windows + remote.wastedWindows!)).toBeLessThan(64 * 64 * 3 * 1.1);
  });

  it("gives the bytes of one machine: local WebAssembly and the edge function", async () => {
    const alone = await run({ backends: ["wasm"] });
    const { out, windows } = await run({ backends: ["wasm", `edge:${edgeUrl}`] });
    expect(treeHashes(out)).toEqual(treeHashes(alone.out));
    expect(windows("edge:")).toBeGreaterThan(0);
  });

  it("of local, edge and runner backends labels as one machine, within a thousandth of the pixels", async () => {
    const { out, windows, manifest } = await run({
      backends: ["local", `edge:${edgeUrl}`, `runner:${runner.url}`],
    });
    for (const name of ["cpu", "edge:", "runner:"]) expect(windows(name), name).toBeGreaterThan(0);
    expect(manifest.backends.reduce((n, b) => n + b.windows, 0)).toBe(manifest.plan.windows);
    const here = await readLabels(join(out, "labels.ome.zarr"));
    const alone = await readLabels(join(directory, "out-0", "labels.ome.zarr"));
    let differing = 0;
    for (let i = 0; i < here.data.length; i++) if (here.data[i] !== alone.data[i]) differing++;
    expect(differing / here.data.length).toBeLessThan(1e-3);
  });

  it.each<[string, (nth: number) => Unruly]>([
    ["breaks connections now and then", (nth) => (nth % 3 === 1 ? "breaks" : "passes")],
    ["is busy now and then", (nth) => (nth % 2 === 0 ? "is busy" : "passes")],
    ["stops answering", (nth) => (nth < 4 ? "passes" : "hangs")],
    ["dies", (nth) => (nth < 4 ? "passes" : "breaks")],
  ])("loses no window to a runner that %s", async (_, behave) => {
    const proxy = await spoiled(behave);
    const { out, manifest } = await run({ backends: ["cpu", `runner:${proxy.url}`] });
    expect(treeHashes(out)).toEqual(expected);
    expect(manifest.backends.reduce((n, b) => n + b.windows, 0)).toBe(manifest.plan.windows);
  });

  it.each<[Unruly, Partial<SegmentOptions>, RegExp]>([
    ["answers for other windows", {}, /other windows/],
    ["answers in another shape", {}, /records are 3×128×32/],
    ["answers with nothing but zeros", {}, /add up to 0 of 255/],
    ["answers with NaN", { precision: "f32" }, /NaN where a probability was expected/],
  ])("disables a runner that %s, and reports why", async (how, options, reason) => {
    // The golden tile is asked for first, and is right.
    const proxy = await spoiled((nth) => (nth < 2 ? "passes" : how));
    const alone = await run({ ...options, backends: ["cpu"] });
    const { out, manifest, lost } = await run({ ...options, backends: ["cpu", `runner:${proxy.url}`] });
    expect(treeHashes(out)).toEqual(treeHashes(alone.out));
    const expelled = manifest.backends.find((b) => b.name!.startsWith("runner:"))!.expelled;
    expect(expelled).toMatch(reason);
    expect(lost).toEqual([{ type: "backend", backend: `runner:${proxy.url}`, reason: expelled }]);
  });

  it("gives no work to a backend with a wrong golden tile", async () => {
    const proxy = await spoiled(() => "answers with NaN");
    const precision = "f32";
    const { manifest, lost } = await run({ precision, backends: ["cpu", `runner:${proxy.url}`] });
    expect(manifest.backends.map((b) => b.name)).toEqual(["cpu"]);
    expect(lost).toMatchObject([
      { backend: `runner:${proxy.url}`, reason: expect.stringMatching(/golden|probabilit/) },
    ]);
    await expect(run({ precision, backends: [`runner:${proxy.url}`] })).rejects.toThrow(/probabilit/);
  });

  it("ends with one sentence when the only backend dies, and other backends resume its work", async () => {
    const proxy = await spoiled((nth) => (nth < 6 ? "passes" : "answers for other windows"));
    const out = join(directory, "resumed");
    const failing = run({ out, backends: [`runner:${proxy.url}`] });
    await expect(failing).rejects.toThrow(/other windows/);
    const { manifest } = await run({ out, backends: ["cpu"], resume: true });
    expect(manifest.attempts).toBe(2);
    expect(treeHashes(out)).toEqual(expected);
    expect(JSON.parse(readFileSync(join(out, "run.json"), "utf8")).coverage.complete).toBe(true);
  });
});

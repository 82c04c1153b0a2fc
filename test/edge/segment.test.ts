import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EngineSegmenter } from "../../src/inference/engine/engine-segmenter.ts";
import { RemoteError } from "../../src/inference/errors.ts";
import { checkGoldenTile } from "../../src/inference/golden-tile.ts";
import { toIntensityNormalization } from "../../src/inference/intensity-normalization.ts";
import { loadKernels } from "../../src/inference/node/engine-kernels.ts";
import { RemoteSegmenter } from "../../src/inference/remote/remote-segmenter.ts";
import type { Segmenter } from "../../src/inference/segmenter.ts";
import { OrtWebSegmenter } from "../../src/inference/wasm/ort-web.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import type { ModelPackage } from "../../src/model-package/load-package.ts";
import type { Raster } from "../../src/tiling/grid/raster.ts";
import type { IntensityNormalization } from "../../src/tiling/pixels/normalize.ts";
import { decodeMaskBatch, MASK_BATCH_TYPE } from "../../src/tiling/wire/mask-batch.ts";
import { decodeForMerging, encodeProbabilities } from "../../src/tiling/wire/mask-record.ts";
import { encodeWindowBatch, type WindowBatch } from "../../src/tiling/wire/window-batch.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { itKeepsTheContract, pixels, post, problem } from "../service/segment-contract.ts";
import { type Bundle, bundleWorker, runWorker, upload } from "./run-worker.ts";

const MIB = 2 ** 20;
const MODELS = join(import.meta.dirname, "../../models");
const TOKEN = "a token nobody guesses".replaceAll(" ", "-");
const CONFIG = "src/edge/segment/wrangler.toml";

/** The deployable bundle in workerd, with its model in R2. */
let bundle: Bundle;
let directory: string;
const running: Miniflare[] = [];

async function start(
  bindings: Record<string, string>,
  packages: Record<string, string>,
  of = bundle,
): Promise<URL> {
  const worker = await runWorker(of, { buckets: ["MODELS"], bindings });
  running.push(worker);
  for (const [name, from] of Object.entries(packages)) await upload(worker, "MODELS", from, `${name}/`);
  return worker.ready;
}

beforeAll(async () => {
  bundle = await bundleWorker(CONFIG);
  directory = await mkdtemp(join(tmpdir(), "tilewright-edge-"));
});
afterAll(async () => {
  await Promise.all(running.map((worker) => worker.dispose()));
  await bundle?.remove();
  if (directory) await rm(directory, { recursive: true });
});

const authorized = (headers: Record<string, string> = {}) => ({
  Authorization: `Bearer ${TOKEN}`,
  ...headers,
});

it("the bundle is well below the limit of Cloudflare", () => {
  const [, kib] = /Total Upload: ([\d.]+) KiB/.exec(bundle.log)!;
  expect(Number(kib) * 1024).toBeLessThan(1.5e6);
  // Of these, the engine:
  for (const name of readdirSync(bundle.directory).filter((n) => /kernels.*\.wasm$/.test(n))) {
    expect(statSync(join(bundle.directory, name)).size).toBeLessThan(60_000);
  }
});

describe("the bundled model at the edge", () => {
  const CAP_MIB = 24;
  let model: ModelPackage;
  let golden: Raster<Uint8Array>;
  let scaling: IntensityNormalization;
  let local: EngineSegmenter;
  /** The golden tile by the same runtime in this process. */
  let here: Float32Array;
  let url: URL;
  beforeAll(async () => {
    url = await start(
      { MODEL: "nuclei", TOKEN, HEAP_CAP_MIB: String(CAP_MIB) },
      { nuclei: join(MODELS, "nuclei") },
    );
    model = await loadModel("nuclei", {});
    golden = { data: model.golden.input, shape: model.golden.spec.input.shape };
    scaling = toIntensityNormalization(
      model.manifest,
      model.golden.spec.input.low,
      model.golden.spec.input.high,
    );
    local = await EngineSegmenter.create(model, (await loadKernels())[0]!);
    here = (await local.segment(golden, { scaling })).data;
  });
  afterAll(() => local?.close());

  it("survives clients that disconnect while it loads its model", async () => {
    for (const patienceMs of [30, 300]) {
      const signal = AbortSignal.timeout(patienceMs);
      const gone = fetch(new URL("/v1/info", url), { headers: authorized(), signal });
      await gone.then((response) => response.body?.cancel()).catch(() => {});
    }
    expect((await fetch(new URL("/v1/info", url), { headers: authorized() })).status).toBe(200);
  });

  it("reports its model, its runtime, and a heap below its cap", async () => {
    const info = await (await fetch(new URL("/v1/info", url), { headers: authorized() })).json();
    expect(info).toMatchObject({
      model: { name: "nuclei", variant: "int4", hash: model.hash },
      window: [224, 224],
      channels: 3,
      classes: 3,
      limits: { maxWindows: 16, maxBodyBytes: 8 * MIB },
      runtime: {
        name: "tilewright-engine wasm (relaxed, fused)",
        heapCapBytes: CAP_MIB * MIB,
        sharedMemory: { allowed: true },
      },
    });
    expect(info.golden.maxAbs).toBeLessThan(model.golden.spec.tolerance.maxAbs);
    expect(info.runtime.heapBytes).toBe(local.heapBytes);
    expect(info.runtime.heapBytes).toBeLessThanOrEqual(CAP_MIB * MIB);
  });

  it.each(["u8", "f16", "f32"] as const)(
    "gives the same bytes as the same runtime in Node, as %s",
    async (precision) => {
      const batch: WindowBatch = {
        model: model.hash,
        variant: "int4",
        precision,
        windows: [41],
        scaling,
        pixels: golden,
      };
      const response = await post({ url, token: TOKEN }, encodeWindowBatch(batch));
      expect(response.status).toBe(200);
      expect(response.headers.get("Content-Type")).toBe(MASK_BATCH_TYPE);
      const masks = decodeMaskBatch(new Uint8Array(await response.arrayBuffer()));
      expect(masks).toMatchObject({ model: model.hash, variant: "int4", precision, shape: [3, 224, 224] });
      expect(masks.records.map((r) => r.window)).toEqual([41]);
      const record = masks.records[0]!;
      const expected = encodeProbabilities(here, precision);
      expect(Buffer.compare(bytesOf(record.data), bytesOf(expected))).toBe(0);
      const unit = precision === "u8" ? 255 : 1;
      let maxAbs = 0;
      decodeForMerging(record).forEach((v, i) => {
        maxAbs = Math.max(maxAbs, Math.abs(v / unit - model.golden.output[i]! / 255));
      });
      expect(maxAbs).toBeLessThanOrEqual(model.golden.spec.tolerance.maxAbs);
    },
  );

  it("serves RemoteSegmenter, and stays below its cap", async () => {
    const edge = await RemoteSegmenter.connect(url.href, { token: TOKEN, modelHash: model.hash });
    expect(edge.info).toMatchObject({ model: "nuclei", variant: "int4", window: [224, 224], classes: 3 });
    await checkGoldenTile(edge, model);
    // The golden tile and a lighter one: results must keep the order.
    const lighter = golden.data.map((v) => Math.min(255, v + 40));
    const data = new Uint8Array([...lighter, ...golden.data]);
    const there = await edge.segment({ data, shape: [2, ...golden.shape.slice(1)] }, { scaling });
    const hereLighter = (await local.segment({ data: lighter, shape: golden.shape }, { scaling })).data;
    expect(Buffer.compare(bytesOf(there.data.subarray(0, here.length)), bytesOf(hereLighter))).toBe(0);
    expect(Buffer.compare(bytesOf(there.data.subarray(here.length)), bytesOf(here))).toBe(0);
    const info = await (await fetch(new URL("/v1/info", url), { headers: authorized() })).json();
    expect(info.runtime.heapBytes).toBeLessThanOrEqual(CAP_MIB * MIB);
  });

  it("rejects a client that expects other weights, and one with a wrong token", async () => {
    await expect(
      RemoteSegmenter.connect(url.href, { token: TOKEN, modelHash: "0".repeat(64) }),
    ).rejects.toMatchObject({
      name: "RemoteError",
      code: "wrong_model",
      retryable: false,
    });
    await expect(RemoteSegmenter.connect(url.href, { token: "not-the-token" })).rejects.toMatchObject({
      code: "unauthorized",
      status: 401,
      retryable: false,
    });
  });
});

/** Compares a bundle with a segmenter of this process, over the golden tile. @returns the runtime that the bundle reports */
async function gives(model: ModelPackage, local: Segmenter, of: Bundle): Promise<{ name: string }> {
  const { name } = model.manifest;
  const url = await start(
    { MODEL: name, VARIANT: model.variantName, TOKEN },
    { [name]: join(MODELS, name) },
    of,
  );
  const edge = await RemoteSegmenter.connect(url.href, { token: TOKEN, modelHash: model.hash });
  const { input, spec } = model.golden;
  const pixels = { data: input, shape: spec.input.shape };
  const scaling = toIntensityNormalization(model.manifest, spec.input.low, spec.input.high);
  const [there, here] = [await edge.segment(pixels, { scaling }), await local.segment(pixels, { scaling })];
  expect(Buffer.compare(bytesOf(there.data), bytesOf(here.data))).toBe(0);
  await local.close();
  return (await (await fetch(new URL("/v1/info", url), { headers: authorized() })).json()).runtime;
}

it.each(["int4", "int4-edge"])("the engine gives the bytes of Node for hippocampus, %s", async (variant) => {
  const model = await loadModel("hippocampus", { variant });
  const runtime = await gives(model, await EngineSegmenter.create(model, (await loadKernels())[0]!), bundle);
  expect(runtime.name).toBe("tilewright-engine wasm (relaxed, fused)");
});

describe("onnxruntime-web at the edge, for other networks", () => {
  let other: Bundle;
  beforeAll(async () => {
    other = await bundleWorker(CONFIG, { entry: "src/edge/segment/worker-onnxruntime.ts" });
  });
  afterAll(() => other?.remove());

  it("serves a model with the same bytes as in Node", async () => {
    const model = await loadModel("hippocampus", { variant: "int4-edge" });
    const runtime = await gives(model, await OrtWebSegmenter.create(model), other);
    expect(runtime).toMatchObject({ name: "onnxruntime-web 1.30.0 wasm", sharedMemory: { allowed: true } });
  });

  it.each([
    ["the engine", "16", /^the network needs 2\d\.\d MiB of memory, 16\.0 are allowed$/],
    ["onnxruntime-web, to load it", "20", /does not load: .+ \(its heap has [\d.]+ MiB of at most 20\.0\)/],
    [
      "onnxruntime-web, to run it",
      "32",
      /failed to run: .*bad_alloc.* \(its heap has [\d.]+ MiB of at most 32\.0\)/,
    ],
  ])(
    "a heap that is too small for %s gives an error, and the isolate serves the next request",
    async (on, cap, message) => {
      const bindings = { MODEL: "nuclei", TOKEN, HEAP_CAP_MIB: cap };
      const url = await start(
        bindings,
        { nuclei: join(MODELS, "nuclei") },
        on === "the engine" ? bundle : other,
      );
      for (let i = 0; i < 2; i++) {
        const response = await fetch(new URL("/v1/info", url), { headers: authorized() });
        const answer = await response.clone().json();
        expect(await problem(response)).toMatchObject({ status: 500, code: "inference_failed" });
        expect(answer.error.message).toMatch(message);
        expect((await fetch(new URL("/healthz", url))).status).toBe(200);
      }
    },
  );
});

describe("invalid requests and configurations", () => {
  const LIMITS = { MAX_WINDOWS: "3", MAX_BODY_MIB: "1" };
  let url: URL;
  let good: WindowBatch;
  beforeAll(async () => {
    const path = writePointwisePackage(join(directory, "pointwise"), { window: 32 });
    url = await start({ MODEL: "pointwise", TOKEN, ...LIMITS }, { pointwise: path });
    const { hash } = await loadModel(path, {});
    good = {
      model: hash,
      variant: "fp32",
      precision: "u8",
      windows: [0],
      scaling: { low: 0, high: 255 },
      pixels: { data: new Uint8Array(32 * 32 * 3).fill(200), shape: [1, 32, 32, 3] },
    };
  });

  itKeepsTheContract(() => ({ url, token: TOKEN, good, maxWindows: 3, maxBodyBytes: MIB }));

  it("the client handles abort, other pixel types, an absent server and another kind of server", async () => {
    const edge = await RemoteSegmenter.connect(url.href, { token: TOKEN });
    const scaling = { low: 0, high: 255 };
    const reason = new Error("enough");
    await expect(edge.segment(good.pixels, { scaling, signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    const bytes = await edge.segment(good.pixels, { scaling });
    for (const data of [Float32Array.from(good.pixels.data), Float64Array.from(good.pixels.data)]) {
      expect(await edge.segment({ data, shape: good.pixels.shape }, { scaling })).toEqual(bytes);
    }
    await expect(edge.segment(pixels(1, 16, 16, 3), { scaling })).rejects.toMatchObject({
      code: "wrong_shape",
      status: 422,
      retryable: false,
    });
    const nobody = RemoteSegmenter.connect("http://127.0.0.1:9/", { token: TOKEN });
    await expect(nobody).rejects.toMatchObject({ code: "unreachable", retryable: true });
    const other = RemoteSegmenter.connect(new URL("/elsewhere", url).href, { token: TOKEN });
    await expect(other).rejects.toThrow(RemoteError);
  });
});

describe("a Worker without configuration", () => {
  it("rejects everything but /healthz without a token, and says why", async () => {
    for (const token of [undefined, "short"]) {
      const url = await start({ MODEL: "nuclei", ...(token && { TOKEN: token }) }, {});
      for (const path of ["/v1/info", "/v1/segment"]) {
        const response = await fetch(new URL(path, url), { headers: { Authorization: "Bearer short" } });
        const told = await problem(response);
        expect(told).toMatchObject({ status: 503, code: "not_configured" });
        expect(told.message).toContain("wrangler secret put TOKEN");
      }
      expect((await fetch(new URL("/healthz", url))).status).toBe(200);
    }
  });

  it.each([
    ["a bucket without the model", { MODEL: "nuclei" }, "model_unusable", "no model.json in nuclei"],
    [
      "a variant that is not there",
      { MODEL: "damaged", VARIANT: "int2" },
      "model_unusable",
      'no variant "int2"',
    ],
    ["weights that were changed", { MODEL: "damaged" }, "model_unusable", "is not the one in model.json"],
    ["a golden tile that does not come out", { MODEL: "wrong" }, "inference_failed", "golden tile off by"],
    ["a name that is a path", { MODEL: "../nuclei" }, "not_configured", "binding MODEL must be"],
    [
      "a cap that is none",
      { MODEL: "nuclei", HEAP_CAP_MIB: "1e9" },
      "not_configured",
      "binding HEAP_CAP_MIB",
    ],
  ])("%s", async (_, bindings, code, message) => {
    const damaged = writePointwisePackage(join(directory, "damaged"), { window: 32 });
    const onnx = join(damaged, "pointwise.onnx");
    writeFileSync(onnx, readFileSync(onnx).reverse());
    const wrong = writePointwisePackage(join(directory, "wrong"), { window: 32 });
    writeFileSync(join(wrong, "golden/output.bin"), new Uint8Array(32 * 32 * 3).fill(85));
    const url = await start({ TOKEN, ...bindings }, { damaged, wrong });
    const told = await problem(await fetch(new URL("/v1/info", url), { headers: authorized() }));
    expect(told.code).toBe(code);
    expect(told.message).toContain(message);
  });
});

function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

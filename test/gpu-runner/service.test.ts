import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InferenceError } from "../../src/inference/errors.ts";
import { checkGoldenTile } from "../../src/inference/golden-tile.ts";
import { toIntensityNormalization } from "../../src/inference/intensity-normalization.ts";
import { openProvider } from "../../src/inference/node/open-provider.ts";
import { OrtNodeSegmenter } from "../../src/inference/node/ort-node.ts";
import { RemoteSegmenter } from "../../src/inference/remote/remote-segmenter.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import type { ModelPackage } from "../../src/model-package/load-package.ts";
import { decodeMaskBatch, MASK_BATCH_TYPE } from "../../src/tiling/wire/mask-batch.ts";
import { encodeProbabilities } from "../../src/tiling/wire/mask-record.ts";
import { encodeWindowBatch, type WindowBatch } from "../../src/tiling/wire/window-batch.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { itKeepsTheContract, post } from "../service/segment-contract.ts";
import { greys, runRunner, TOKEN } from "./run-runner.ts";
import { slowed } from "./slow-segmenter.ts";

const MIB = 2 ** 20;
let directory: string;
let pointwise: ModelPackage;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tilewright-runner-"));
  pointwise = await loadModel(writePointwisePackage(join(directory, "pointwise"), { window: 32 }));
});
afterAll(() => rm(directory, { recursive: true }));

describe("a runner on the CPU keeps the contract of the edge function", () => {
  let running: Awaited<ReturnType<typeof runRunner>>;
  beforeAll(async () => {
    running = await runRunner(pointwise, { maxBodyMib: 1, sessions: 2 });
  });
  afterAll(() => running?.runner.stop());

  itKeepsTheContract(() => ({
    url: running.url,
    token: TOKEN,
    good: greys(pointwise, 1),
    maxWindows: 64,
    maxBodyBytes: MIB,
  }));

  it("states its model and how many requests keep it busy", async () => {
    const headers = { Authorization: `Bearer ${TOKEN}` };
    const info = await (await fetch(new URL("/v1/info", running.url), { headers })).json();
    expect(info).toEqual({
      model: { name: "pointwise", version: "1.0.0", variant: "fp32", hash: pointwise.hash },
      window: [32, 32],
      channels: 3,
      classes: 3,
      limits: { maxWindows: 64, maxBodyBytes: MIB, requests: 5 },
      golden: { maxAbs: expect.any(Number), meanAbs: expect.any(Number) },
      runtime: { name: "onnxruntime-node 1.30.0 cpu", provider: "cpu", sessions: 2, batch: 1 },
    });
  });

  it("answers health checks without a token, and metrics only with one", async () => {
    expect(await (await fetch(new URL("/healthz", running.url))).json()).toEqual({ ok: true });
    expect(await (await fetch(new URL("/readyz", running.url))).json()).toEqual({ ready: true });
    expect((await fetch(new URL("/metrics", running.url))).status).toBe(401);
    const before = await running.metric("tilewright_windows_total");
    const bytes = await running.metric('tilewright_body_bytes_total\\{direction="out"');
    expect(bytes).toBeNaN();
    await post({ url: running.url, token: TOKEN }, encodeWindowBatch(greys(pointwise, 7)));
    expect(await running.metric("tilewright_windows_total")).toBe(before + 7);
    expect(await running.metric("tilewright_queue_windows")).toBe(0);
    expect(await running.metric("tilewright_batch_windows_count")).toBeGreaterThanOrEqual(7);
    expect(await running.metric("tilewright_request_seconds_count")).toBeGreaterThan(0);
    expect(await running.metric("process_resident_memory_bytes")).toBeGreaterThan(MIB);
    expect(await running.metric("nodejs_heap_size_used_bytes")).toBeGreaterThan(MIB);
  });

  it("logs requests and their outcome, but no tokens and no unknown paths", async () => {
    await fetch(new URL("/slides/Jane%20Doe%201961.svs", running.url), {
      headers: { Authorization: `Bearer ${TOKEN}` },
    });
    const all = running.log.lines.join("");
    expect(all).not.toContain(TOKEN);
    expect(all).not.toMatch(/jane/i);
    const lines = running.log.lines.map((line) => JSON.parse(line));
    expect(lines.at(-1)).toMatchObject({ method: "GET", route: "other", status: 404, code: "not_found" });
    expect(lines).toContainEqual(expect.objectContaining({ route: "/v1/segment", status: 200, windows: 7 }));
  });
});

function windowOf({ pixels: { data, shape } }: WindowBatch, n: number): WindowBatch["pixels"] {
  const size = data.length / shape[0]!;
  return { data: data.subarray(n * size, (n + 1) * size) as typeof data, shape: [1, ...shape.slice(1)] };
}

describe("a runner on the CPU returns the bytes of the runtime in this process", () => {
  async function compare(model: ModelPackage, batch: WindowBatch): Promise<void> {
    const running = await runRunner(model, { sessions: 2 });
    const local = await OrtNodeSegmenter.create(model, { threads: 1 });
    try {
      for (const precision of ["u8", "f16", "f32"] as const) {
        const response = await post(
          { url: running.url, token: TOKEN },
          encodeWindowBatch({ ...batch, precision }),
        );
        expect(response.status).toBe(200);
        expect(response.headers.get("Content-Type")).toBe(MASK_BATCH_TYPE);
        const masks = decodeMaskBatch(new Uint8Array(await response.arrayBuffer()));
        expect(masks.records.map((r) => r.window)).toEqual(batch.windows);
        // One at a time, as the runner computes them.
        for (const [n, record] of masks.records.entries()) {
          const window = await local.segmentEncoded(windowOf(batch, n), {
            scaling: batch.scaling,
            precision,
          });
          expect(Buffer.compare(bytesOf(record.data), bytesOf(window.data[0]!)), `${precision} of ${n}`).toBe(
            0,
          );
        }
      }
      const remote = await RemoteSegmenter.connect(running.url.href, { token: TOKEN, modelHash: model.hash });
      await checkGoldenTile(remote, model);
    } finally {
      await local.close();
      await running.runner.stop();
    }
  }

  it("for a pointwise network, 23 windows", async () => {
    await compare(pointwise, greys(pointwise, 23));
  });

  it("for the golden tile of the bundled model", async () => {
    const model = await loadModel("nuclei");
    const { low, high, shape } = model.golden.spec.input;
    await compare(model, {
      ...greys(model, 1),
      scaling: toIntensityNormalization(model.manifest, low, high),
      pixels: { data: model.golden.input, shape },
    });
  });
});

describe("batching over HTTP", () => {
  it("runs requests together that arrive while the device is busy", async () => {
    const { device, open } = slowed({ runMs: 50 });
    const running = await runRunner(pointwise, {
      providers: ["cuda"],
      open,
      maxBatch: 8,
      batchLatencyMs: 20,
    });
    device.runs.length = 0;
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        post({ url: running.url, token: TOKEN }, encodeWindowBatch(greys(pointwise, 1, i * 20))),
      ),
    );
    const local = await OrtNodeSegmenter.create(pointwise, { threads: 1 });
    for (const [i, response] of answers.entries()) {
      expect(response.status).toBe(200);
      const { records } = decodeMaskBatch(new Uint8Array(await response.arrayBuffer()));
      const { data } = await local.segment(greys(pointwise, 1, i * 20).pixels, {
        scaling: { low: 0, high: 255 },
      });
      expect(Buffer.compare(bytesOf(records[0]!.data), bytesOf(encodeProbabilities(data, "u8")))).toBe(0);
    }
    await local.close();
    await running.runner.stop();
    expect(device.runs.reduce((sum, n) => sum + n)).toBe(12);
    expect(device.runs.length).toBeLessThanOrEqual(5);
  });
});

describe("startRunner rejects", () => {
  const refused = (options: Parameters<typeof runRunner>[1]) =>
    runRunner(pointwise, options).then(
      async ({ runner }) => {
        await runner.stop();
        throw new Error("it started");
      },
      (error) => error,
    );

  it("a missing token beyond loopback, and a short token", async () => {
    for (const host of ["0.0.0.0", "::", "10.1.2.3", "localhost.example"]) {
      const error = await refused({ host, token: undefined });
      expect(error.name).toBe("JobError");
      expect(error.message).toContain("TILEWRIGHT_TOKEN");
    }
    expect((await refused({ token: "fifteen-letters" })).message).toContain("15 characters");
  });

  it("an unknown provider, and one that is not available", async () => {
    expect((await refused({ providers: ["cpu", "tpu"] })).message).toContain('no provider "tpu"');
    expect((await refused({ providers: [] })).name).toBe("JobError");
    const none = async () => {
      throw new InferenceError("there is no such device");
    };
    const error = await refused({ providers: ["cuda", "webgpu"], open: none });
    expect(error).toBeInstanceOf(InferenceError);
    expect(error.message).toMatch(/cuda: there is no such device; webgpu: .*--allow-fallback/);
  });

  it("a session of another provider, and one that computes wrongly", async () => {
    const other = (_: string, model: ModelPackage) => openProvider("cpu", model, { threads: 1 });
    expect((await refused({ providers: ["cuda"], open: other })).message).toContain(
      "the session uses onnxruntime-node 1.30.0 cpu instead of cuda",
    );
    const wrong = {
      ...pointwise,
      golden: { ...pointwise.golden, output: pointwise.golden.output.map((v) => 255 - v) },
    };
    const error = await runRunner(wrong).catch((e) => e);
    expect(error.message).toContain("golden tile off by");
  });

  it("a device that computes wrong bytes, or leaves operators to the CPU without permission", async () => {
    const asked: object[] = [];
    const { device, open } = slowed({ runMs: 0 });
    const watched: typeof open = async (name, model, options) => {
      asked.push(options ?? {});
      const session = await open(name, model, options);
      const segment = session.segment.bind(session);
      return Object.assign(session, {
        segment: async (batch: Parameters<typeof segment>[0], how: Parameters<typeof segment>[1]) => {
          const result = await segment(batch, how);
          if (how.precision === "u8") result.data.fill(0);
          return result;
        },
      });
    };
    const error = await refused({ providers: ["cuda"], open: watched, allowCpuOperators: true });
    expect(error.message).toContain("golden tile off by");
    expect(asked).toEqual([{ deviceId: undefined, allowCpuOperators: true }]);
    expect(device.runs.length).toBe(1);
  });

  it("an address in use", async () => {
    const first = await runRunner(pointwise);
    const error = await refused({ port: Number(first.url.port) });
    await first.runner.stop();
    expect(error).toMatchObject({ name: "JobError", message: expect.stringContaining("EADDRINUSE") });
  });

  it("but uses another provider with --allow-fallback, and says which", async () => {
    const onlyCpu: typeof openProvider = async (name, model, options) => {
      if (name !== "cpu") throw new InferenceError("there is no such device");
      return openProvider(name, model, options);
    };
    const running = await runRunner(pointwise, { providers: ["cuda"], allowFallback: true, open: onlyCpu });
    expect(running.runner.sentence).toMatch(
      /^runner at http:\/\/127\.0\.0\.1:\d+: pointwise 1\.0\.0 fp32 on cpu /,
    );
    expect(running.log.lines.join("")).toContain("a provider was passed over");
    await running.runner.stop();
  });

  it("but starts on loopback without a token", async () => {
    const running = await runRunner(pointwise, { token: undefined });
    expect((await fetch(new URL("/v1/info", running.url))).status).toBe(200);
    expect((await fetch(new URL("/metrics", running.url))).status).toBe(200);
    await running.runner.stop();
  });
});

describe("without a token", () => {
  let running: Awaited<ReturnType<typeof runRunner>>;
  beforeAll(async () => {
    running = await runRunner(pointwise, { token: undefined });
  });
  afterAll(() => running?.runner.stop());

  /** `fetch` sets the header itself. */
  const requestAs = (host: string, path: string, method = "GET") =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const asked = request(new URL(path, running.url), { method, headers: { Host: host } }, (answer) => {
        let body = "";
        answer.on("data", (part) => {
          body += part;
        });
        answer.on("end", () => resolve({ status: answer.statusCode!, body }));
      });
      asked.on("error", reject).end();
    });

  it.each(["localhost", "LOCALHOST:1234", "127.0.0.1:80", "127.8.8.8", "[::1]:8788", "[::1]"])(
    "it is there for %s",
    async (host) => expect((await requestAs(host, "/v1/info")).status).toBe(200),
  );

  it.each([
    "rebound.example",
    "rebound.example:8788",
    "127.0.0.1.example",
    "localhost.example",
    "10.0.0.1",
    "0.0.0.0",
    "[::2]",
  ])("a page of %s that resolves to it is refused", async (host) => {
    for (const [path, method] of [
      ["/v1/info", "GET"],
      ["/metrics", "GET"],
      ["/v1/segment", "POST"],
    ] as const) {
      const { status, body } = await requestAs(host, path, method);
      expect(status).toBe(403);
      expect(JSON.parse(body).error.code).toBe("wrong_host");
    }
    expect((await requestAs(host, "/healthz")).status).toBe(200);
  });

  it.each(["[::1].example", "::1", "localhost:80:80", "a@localhost"])(
    "rejects the invalid host %s",
    async (host) => expect((await requestAs(host, "/v1/info")).status).toBe(400),
  );
});

function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkGoldenTile } from "../../src/inference/golden-tile.ts";
import { DeviceSegmenter } from "../../src/inference/node/device-segmenter.ts";
import { openProvider } from "../../src/inference/node/open-provider.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import type { ModelPackage } from "../../src/model-package/load-package.ts";
import type { Raster, SampleArray } from "../../src/tiling/grid/raster.ts";
import { networkPackage } from "../builders/network-package.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { softwareAdapter } from "./software-adapter.ts";

const there = softwareAdapter() !== undefined;
if (!there) {
  console.warn(
    "no Vulkan driver was found: install Debian's chromium-common and libvulkan1, or set VK_DRIVER_FILES",
  );
}
/** CI says that it has a driver: there, none is a failure and not a reason to skip. */
it.runIf(process.env.TILEWRIGHT_NEEDS_WEBGPU)("there is a driver", () => expect(there).toBe(true));

const TINY = join(import.meta.dirname, "../fixtures/tiny-swin");
const scaling = { low: 10, high: 240, clip: [0, 1] as const, scale: 2, offset: -1 };

function pixels(
  shape: readonly number[],
  Samples = Uint8Array as new (
    n: number,
  ) => SampleArray,
  most = 255,
) {
  const data = new Samples(shape.reduce((p, n) => p * n));
  for (let i = 0; i < data.length; i++)
    data[i] = (0.5 + 0.5 * Math.sin(i * 12.9898) * Math.cos(i / 777)) * most;
  return { data, shape };
}

/** @returns the share of samples that differ; none by more than one */
function compare(ours: Raster<Uint8Array>, theirs: Raster<Uint8Array>): number {
  expect(ours.shape).toEqual(theirs.shape);
  let differing = 0;
  for (let i = 0; i < ours.data.length; i++) {
    const difference = Math.abs(ours.data[i]! - theirs.data[i]!);
    expect(difference).toBeLessThanOrEqual(1);
    differing += difference;
  }
  return differing / ours.data.length;
}

describe.runIf(there)("WebGPU", () => {
  describe("with a small Swin-Unet of 4 bits", () => {
    let model: ModelPackage;
    let gpu: DeviceSegmenter;
    let cpu: DeviceSegmenter;
    beforeAll(async () => {
      model = await loadModel(TINY, { half: true });
      gpu = (await openProvider("webgpu", model)) as DeviceSegmenter;
      cpu = await DeviceSegmenter.create(model, { provider: "cpu" });
    });
    afterAll(async () => {
      await gpu?.close();
      await cpu?.close();
    });

    it("says what it runs on: float32, for the software adapter has no float16", () => {
      expect(gpu.info.runtime).toMatch(/^onnxruntime-node [\d.]+ webgpu( fp16)?$/);
    });

    it("passes the golden tile with either answer", async () => {
      for (const precision of ["u8", "f32"] as const) {
        const { meanAbs } = await checkGoldenTile(gpu, model, { precision });
        expect(meanAbs).toBeLessThan(0.0012);
      }
    });

    it("gives the bytes of the CPU, several windows at a time", async () => {
      const batch = pixels([3, 64, 64, 3]);
      const share = compare(
        await gpu.segmentToBytes(batch, { scaling }),
        await cpu.segmentToBytes(batch, { scaling }),
      );
      expect(share).toBeLessThan(0.001);
    });

    it.each([
      ["grey pixels", pixels([2, 64, 64, 1])],
      ["16-bit pixels", pixels([1, 64, 64, 3], Uint16Array, 4000)],
      ["floats", pixels([1, 64, 64, 3], Float32Array, 1)],
    ] as const)("takes %s as the CPU does", async (_, batch) => {
      const most = batch.data instanceof Uint16Array ? 4000 : batch.data instanceof Float32Array ? 1 : 255;
      const options = { scaling: { ...scaling, low: 0.1 * most, high: 0.9 * most } };
      const share = compare(
        await gpu.segmentToBytes(batch, options),
        await cpu.segmentToBytes(batch, options),
      );
      expect(share).toBeLessThan(0.001);
    });
  });

  it.each([
    { activation: "softmax", window: [5, 7] },
    { activation: "sigmoid", window: [4, 3, 5] },
    { activation: "none", window: [63, 61] },
  ] as const)("packs $window samples of $activation as the CPU does", async ({ activation, window }) => {
    const spread = activation === "none" ? 0.2 : 3;
    const weights = [1, -0.7, 0.3, -0.5, 0.2, 0.9].map((w) => w * spread);
    const model = networkPackage(
      { window, channels: 2, scores: 3, weights, biases: [0.5, 0.5, 0.4] },
      activation,
    );
    const gpu = await DeviceSegmenter.create(model, { provider: "webgpu" });
    const cpu = await DeviceSegmenter.create(model, { provider: "cpu" });
    try {
      const batch = pixels([3, ...window, 2]);
      const options = { scaling: { low: 0, high: 255, clip: [0, 1] as const } };
      compare(await gpu.segmentToBytes(batch, options), await cpu.segmentToBytes(batch, options));
    } finally {
      await gpu.close();
      await cpu.close();
    }
  });

  it.each(["softmax", "sigmoid", "none"] as const)(
    "a score that is not finite is an error with %s",
    async (activation) => {
      const model = networkPackage(
        { window: [5, 7], channels: 1, scores: 2, weights: [1, 0], biases: [-0.1, 0.5], last: "Sqrt" },
        activation,
      );
      const gpu = await DeviceSegmenter.create(model, { provider: "webgpu" });
      try {
        const data = new Uint8Array(70).fill(100);
        const batch = { data, shape: [2, 5, 7, 1] };
        await gpu.segmentToBytes(batch, { scaling: { low: 0, high: 255 } });
        data[60] = 3;
        await expect(gpu.segmentToBytes(batch, { scaling: { low: 0, high: 255 } })).rejects.toThrow(
          "a score that is not finite",
        );
        data[60] = 200;
        await gpu.segmentToBytes(batch, { scaling: { low: 0, high: 255 } });
      } finally {
        await gpu.close();
      }
    },
  );

  it("serves several models at once, and one goes on when another is closed", async () => {
    const network = { window: [8, 8], channels: 1, scores: 2, biases: [0, 1] };
    const models = [[1, -1] as const, [-1, 1] as const].map((weights, i) =>
      networkPackage({ ...network, weights, biases: i === 0 ? [0, 1] : [1, 0] }, "none"),
    );
    const [one, other] = (await Promise.all(
      models.map((model) => DeviceSegmenter.create(model, { provider: "webgpu" })),
    )) as [DeviceSegmenter, DeviceSegmenter];
    const data = Uint8Array.from({ length: 64 }, (_, i) => 4 * i);
    const inverse = data.map((v) => 255 - v);
    const batch = { data, shape: [1, 8, 8, 1] };
    const options = { scaling: { low: 0, high: 255 } };
    const runs = [one, other, one, other].map((gpu) => gpu.segmentToBytes(batch, options));
    for (const [i, { data: bytes }] of (await Promise.all(runs)).entries()) {
      expect([...bytes]).toEqual(i % 2 === 0 ? [...data, ...inverse] : [...inverse, ...data]);
    }
    await one.close();
    await expect(one.segmentToBytes(batch, options)).rejects.toThrow("the model is closed");
    expect([...(await other.segmentToBytes(batch, options)).data]).toEqual([...inverse, ...data]);
    await other.close();
  });

  it("refuses a variant that the CPU would have to help with, unless that is allowed", async () => {
    const model = await loadModel("nuclei", { variant: "int4-edge" });
    await expect(openProvider("webgpu", model)).rejects.toThrow(
      "no kernels for some operators of nuclei int4-edge",
    );
    const helped = await DeviceSegmenter.create(model, { provider: "webgpu", allowCpuOperators: true });
    expect(helped.info.runtime).toContain("with CPU operators");
    await helped.close();
  });

  it("refuses float16 where the adapter has none, and takes float32 when it may", async () => {
    const model = await loadModel(TINY, { half: true });
    const half = await openProvider("webgpu", model, { half: "on" }).catch((error: Error) => error);
    if (half instanceof Error) expect(half.message).toContain("float16");
    else {
      expect(half.info.runtime).toContain("fp16");
      await half.close();
    }
  });

  it("says so when not even one window has room, and the next model runs", async () => {
    const network = { channels: 1, weights: Array(250).fill(1), biases: Array(250).fill(0), scores: 250 };
    const large = networkPackage({ ...network, window: [2100, 2100] }, "none");
    const gpu = await DeviceSegmenter.create(large, { provider: "webgpu" });
    try {
      const batch = { data: new Uint8Array(2100 * 2100), shape: [1, 2100, 2100, 1] };
      const failed = gpu.segmentToBytes(batch, { scaling: { low: 0, high: 255 } });
      await expect(failed).rejects.toMatchObject({ name: "InferenceError", outOfMemory: true });
      await expect(failed).rejects.toThrow("no memory for a single window");
    } finally {
      await gpu.close();
    }
    const small = networkPackage({ ...network, window: [4, 4] }, "none");
    const next = await DeviceSegmenter.create(small, { provider: "webgpu" });
    const ones = { data: new Uint8Array(16).fill(255), shape: [1, 4, 4, 1] };
    const { data } = await next.segmentToBytes(ones, { scaling: { low: 0, high: 255 } });
    expect(data.every((b) => b === 255)).toBe(true);
    await next.close();
  });

  it("fails the golden tile when the graph computes something else", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tilewright-webgpu-"));
    try {
      const model = await loadModel(writePointwisePackage(directory, { window: 64 }));
      const golden = { ...model.golden, output: model.golden.output.map((b) => 255 - b) };
      await expect(openProvider("webgpu", { ...model, golden })).rejects.toThrow(
        "computes model pointwise wrongly",
      );
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

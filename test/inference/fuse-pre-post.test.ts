import fc from "fast-check";
import * as ort from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { InferenceError } from "../../src/inference/errors.ts";
import { fusePrePostForGpu } from "../../src/inference/graph/fuse-pre-post.ts";
import { readOnnx, uniquePrefix, wrapGraph } from "../../src/inference/graph/onnx-file.ts";
import { DeviceSegmenter } from "../../src/inference/node/device-segmenter.ts";
import { OrtNodeSegmenter } from "../../src/inference/node/ort-node.ts";
import { segmentWindows } from "../../src/inference/segment-windows.ts";
import type { ModelPackage } from "../../src/model-package/load-package.ts";
import { allocate, product, type Raster, type SampleArray } from "../../src/tiling/grid/raster.ts";
import type { IntensityNormalization } from "../../src/tiling/pixels/normalize.ts";
import { encodeProbabilities } from "../../src/tiling/wire/mask-record.ts";
import { validateQuantizedProbabilities } from "../../src/tiling/wire/validate-quantized.ts";
import { networkPackage } from "../builders/network-package.ts";
import { onnxNetwork } from "../builders/onnx-network.ts";

/** What the host makes of the same network: normalise, run, activate. */
async function onHost(model: ModelPackage, batch: Raster<SampleArray>, scaling: IntensityNormalization) {
  const session = await ort.InferenceSession.create(model.files[0]!.bytes);
  try {
    return await segmentWindows(model, batch, { scaling }, async ({ data, shape }) => {
      const { logits } = await session.run({ pixels: new ort.Tensor("float32", data, shape) });
      return { data: new Float32Array(logits!.data as Float32Array), shape: logits!.dims };
    });
  } finally {
    await session.release();
  }
}

const HIGHEST = { uint8: 255, uint16: 65535, int16: 30000, float32: 1000 } as const;
/** Anything from -1 to 1 that is the same every time. */
const noise = (i: number) => Math.sin(i * 12.9898 + (i % 7) * 78.233) * 0.999;

const cases = fc.record({
  axes: fc.constantFrom(2, 3),
  sides: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 3, maxLength: 3 }),
  channels: fc.integer({ min: 1, max: 4 }),
  grey: fc.boolean(),
  scores: fc.integer({ min: 2, max: 5 }),
  activation: fc.constantFrom("softmax" as const, "sigmoid" as const, "none" as const),
  dtype: fc.constantFrom("uint8" as const, "uint16" as const, "int16" as const, "float32" as const),
  windows: fc.integer({ min: 1, max: 4 }),
  seed: fc.integer({ min: 0, max: 1e6 }),
  low: fc.double({ min: 0, max: 0.4, noNaN: true }),
  clip: fc.boolean(),
  // ReduceMax takes its axes another way from 18 on.
  opset: fc.constantFrom(13, 17, 18, 20),
});

describe("fusePrePostForGpu", () => {
  it("returns the bytes and probabilities of the host, up to rounding", async () => {
    let samples = 0;
    let differing = 0;
    await fc.assert(
      fc.asyncProperty(cases, async (c) => {
        const window = c.sides.slice(0, c.axes);
        const spread = c.activation === "none" ? 0.4 / c.channels : 3;
        const model = networkPackage(
          {
            window,
            channels: c.channels,
            scores: c.scores,
            opset: c.opset,
            weights: Array.from({ length: c.scores * c.channels }, (_, i) => noise(i + c.seed) * spread),
            biases: Array.from({ length: c.scores }, (_, i) =>
              c.activation === "none" ? 0.5 : noise(3 * i + c.seed),
            ),
          },
          c.activation,
        );
        const from = c.grey ? 1 : c.channels;
        const data = allocate(c.dtype, c.windows * product(window) * from);
        const most = HIGHEST[c.dtype];
        for (let i = 0; i < data.length; i++) data[i] = ((noise(i * 3 + c.seed) + 1) / 2) * most;
        if (data instanceof Float32Array) data[0] = Number.NaN;
        const scaling: IntensityNormalization = { low: c.low * most, high: most };
        // Without a clip what is below `low` is negative: "none" must stay a probability.
        if (c.clip || c.activation === "none") Object.assign(scaling, { clip: [0, 1], scale: 2, offset: -1 });
        const batch = { data, shape: [c.windows, ...window, from] };
        const host = await onHost(model, batch, scaling);
        const device = await DeviceSegmenter.create(model, { provider: "cpu" });
        try {
          const floats = await device.segment(batch, { scaling });
          expect(floats.shape).toEqual(host.shape);
          for (let i = 0; i < host.data.length; i++) {
            expect(Math.abs(floats.data[i]! - host.data[i]!)).toBeLessThan(2e-6);
          }
          const bytes = await device.segmentToBytes(batch, { scaling });
          const expected = encodeProbabilities(host.data, "u8");
          expect(bytes.data.length).toBe(expected.length);
          for (let i = 0; i < expected.length; i++) {
            const difference = Math.abs(bytes.data[i]! - expected[i]!);
            expect(difference).toBeLessThanOrEqual(1);
            differing += difference;
          }
          samples += expected.length;
          // What is asked for by precision rounds to the same bytes.
          const rounded = await device.segment(batch, { scaling, precision: "u8" });
          expect(encodeProbabilities(rounded.data, "u8")).toEqual(bytes.data);
          // And encoded it is those bytes, window by window.
          const encoded = await device.segmentEncoded(batch, { scaling, precision: "u8" });
          expect([c.windows, ...encoded.shape]).toEqual(bytes.shape);
          expect(Buffer.concat(encoded.data as Uint8Array[]).equals(bytes.data)).toBe(true);
        } finally {
          await device.close();
        }
        const cpu = await OrtNodeSegmenter.create(model, { threads: 1 });
        try {
          const encoded = await cpu.segmentEncoded(batch, { scaling, precision: "u8" });
          expect([encoded.data.length, ...encoded.shape]).toEqual(host.shape);
          const expected = encodeProbabilities(host.data, "u8");
          const found = encoded.data.flatMap((one) => [...one]);
          expect(found.length).toBe(expected.length);
          for (const [i, byte] of found.entries()) {
            const difference = Math.abs(byte - expected[i]!);
            expect(difference).toBeLessThanOrEqual(1);
            differing += difference;
          }
          samples += expected.length;
        } finally {
          await cpu.close();
        }
      }),
      { numRuns: 40 },
    );
    expect(samples).toBeGreaterThan(10_000);
    expect(differing / samples).toBeLessThan(1e-3);
  });

  it.each(["softmax", "sigmoid"] as const)(
    "on the CPU gives bytes that tell of scores that are no numbers: %s",
    async (activation) => {
      const network = {
        window: [8, 8],
        channels: 1,
        scores: 2,
        weights: [-1, -1],
        biases: [0, 0],
        last: "Sqrt",
      };
      const model = networkPackage(network, activation);
      const cpu = await OrtNodeSegmenter.create(model, { threads: 1 });
      try {
        const batch = { data: new Uint8Array(64).fill(200), shape: [1, 8, 8, 1] };
        const options = { scaling: { low: 0, high: 255 }, precision: "u8", labels: true } as const;
        const { data, labels } = await cpu.segmentEncoded(batch, options);
        expect(() => validateQuantizedProbabilities(data[0] as Uint8Array, 1, 64, activation)).toThrow(
          RangeError,
        );
        // Named are classes of bytes that are right.
        expect(labels).toBeUndefined();
      } finally {
        await cpu.close();
      }
    },
  );

  it("unpacks every byte at every place in a word", async () => {
    const window = [16, 16];
    const model = networkPackage(
      { window, channels: 1, scores: 2, weights: [1, -1], biases: [0, 1] },
      "none",
    );
    const device = await DeviceSegmenter.create(model, { provider: "cpu" });
    try {
      const data = Uint8Array.from({ length: 4 * 256 }, (_, i) => (i * 85 + (i >> 8)) % 256);
      const scaling = { low: 0, high: 255 };
      const { data: out } = await device.segmentToBytes({ data, shape: [4, 16, 16, 1] }, { scaling });
      for (let n = 0; n < 4; n++) {
        for (let i = 0; i < 256; i++) {
          expect(out[n * 512 + i]).toBe(data[n * 256 + i]);
          expect(out[n * 512 + 256 + i]).toBe(255 - data[n * 256 + i]!);
        }
      }
    } finally {
      await device.close();
    }
  });

  it.each(["softmax", "sigmoid", "none"] as const)(
    "a single score that is no number, with %s, is an error and not a hole",
    async (activation) => {
      const model = networkPackage(
        { window: [5, 7], channels: 1, scores: 2, weights: [1, 0], biases: [-0.1, 0.5], last: "Sqrt" },
        activation,
      );
      const device = await DeviceSegmenter.create(model, { provider: "cpu" });
      try {
        const data = new Uint8Array(70).fill(100);
        const batch = { data, shape: [2, 5, 7, 1] };
        const scaling = { low: 0, high: 255 };
        await device.segmentToBytes(batch, { scaling });
        data[60] = 3;
        for (const precision of ["u8", "f32"] as const) {
          await expect(device.segment(batch, { scaling, precision })).rejects.toThrow(InferenceError);
          await expect(device.segment(batch, { scaling, precision })).rejects.toThrow("not finite");
        }
        // The session goes on.
        data[60] = 200;
        await device.segmentToBytes(batch, { scaling });
      } finally {
        await device.close();
      }
    },
  );

  it("rejects numbers that are no probabilities if the network returns probabilities itself", async () => {
    const model = networkPackage(
      { window: [4, 4], channels: 1, scores: 2, weights: [1.5, 1], biases: [0, 0] },
      "none",
    );
    const device = await DeviceSegmenter.create(model, { provider: "cpu" });
    try {
      const batch = { data: new Uint8Array(16).fill(255), shape: [1, 4, 4, 1] };
      const failed = device.segmentToBytes(batch, { scaling: { low: 0, high: 255 } });
      await expect(failed).rejects.toThrow("no probability");
    } finally {
      await device.close();
    }
  });

  it("rejects a number of classes that differs from model.json, even if the total divides", async () => {
    const network = { window: [4, 4], channels: 1, weights: [1, 1, 1, 1], biases: [0, 0, 0, 0] };
    const model = networkPackage({ ...network, scores: 4 }, "softmax");
    const manifest = { ...model.manifest, classes: model.manifest.classes.slice(0, 2) };
    const device = await DeviceSegmenter.create({ ...model, manifest }, { provider: "cpu" });
    try {
      const batch = { data: new Uint8Array(32), shape: [2, 4, 4, 1] };
      await expect(device.segmentToBytes(batch, { scaling: { low: 0, high: 255 } })).rejects.toThrow(
        "check classes and activation in model.json",
      );
    } finally {
      await device.close();
    }
  });
});

describe("wrapGraph", () => {
  const network = { window: [4, 4], channels: 3, scores: 2, weights: Array(6).fill(1), biases: [0, 0] };
  const options = {
    input: "pixels",
    output: "logits",
    window: [4, 4],
    channels: 3,
    classes: 2,
    activation: "softmax",
    pixels: "uint8",
    pixelChannels: 3,
    result: "u8",
  } as const;

  it("keeps unknown fields", () => {
    const bytes = onnxNetwork(network);
    // Producer, metadata and a field of the future, numbered 99.
    const extra = [0x12, 0x01, 0x70, 0x72, 0x06, 0x0a, 0x01, 0x6b, 0x12, 0x01, 0x76, 0x9a, 0x06, 0x01, 0x7a];
    const made = fusePrePostForGpu(Uint8Array.from([...bytes, ...extra]), options).bytes;
    expect([...made.subarray(-extra.length)]).toEqual(extra);
    // And all of the graph itself, in order: its input and output are known by their shapes still.
    const { inputs, outputs } = readOnnx(bytes);
    const same = wrapGraph(bytes, { before: [], after: [], inputs, outputs });
    expect(Buffer.from(same).toString("latin1")).toContain(
      Buffer.from(bytes.slice(20, 120)).toString("latin1"),
    );
    expect(readOnnx(same)).toEqual(readOnnx(bytes));
  });

  it("chooses names that do not occur in the file", async () => {
    const bytes = onnxNetwork({ ...network, prefix: "device0_in_" });
    expect(uniquePrefix(bytes)).toBe("device1_");
    const graph = fusePrePostForGpu(bytes, options);
    expect(graph.pixels).toBe("device1_pixels");
    const { inputs, outputs } = readOnnx(graph.bytes);
    expect(inputs.map((i) => [i.name, i.shape])).toEqual([
      ["device1_pixels", ["windows", 12]],
      ["device1_scaling", ["windows", 6, 1, 1]],
    ]);
    expect(outputs.map((o) => o.name)).toEqual(["device1_result", "device1_faults"]);
    await (await ort.InferenceSession.create(graph.bytes)).release();
  });

  it.each<[string, Uint8Array, Partial<typeof options>, string]>([
    ["an old opset", onnxNetwork({ ...network, opset: 12 }), {}, "opset 12; export it with 13"],
    ["half in and out", onnxNetwork({ ...network, element: 10 }), {}, "not float32"],
    ["another input", onnxNetwork(network), { input: "image" as "pixels" }, "model.json says image"],
    ["another output", onnxNetwork(network), { output: "y" as "logits" }, "model.json says y"],
    [
      "another window",
      onnxNetwork(network),
      { window: [4, 5] as unknown as [4, 4] },
      "model.json says 3×4×5",
    ],
    ["pixels of two channels", onnxNetwork(network), { pixelChannels: 2 as 3 }, "pixels have 2 channels"],
    ["a file that breaks off", onnxNetwork(network).slice(0, -9), {}, "truncated"],
    [
      "a file that is none",
      new TextEncoder().encode("<html>no model</html>"),
      {},
      "export the network again",
    ],
    ["no bytes", new Uint8Array(0), {}, "export the network again"],
  ])("rejects %s with one sentence", (_, bytes, change, sentence) => {
    const wrap = () => fusePrePostForGpu(bytes, { ...options, ...change });
    expect(wrap).toThrow(InferenceError);
    expect(wrap).toThrow(sentence);
  });
});

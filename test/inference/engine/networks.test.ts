import { join } from "node:path";
import * as ort from "onnxruntime-web/wasm";
import { PbfWriter } from "pbf";
import { describe, expect, it } from "vitest";
import { Engine, planGraph } from "../../../src/inference/engine/engine.ts";
import { EngineSegmenter } from "../../../src/inference/engine/engine-segmenter.ts";
import { readOnnxGraph } from "../../../src/inference/engine/onnx-graph.ts";
import { checkGoldenTile } from "../../../src/inference/golden-tile.ts";
import { toIntensityNormalization } from "../../../src/inference/intensity-normalization.ts";
import { openEngineThreads } from "../../../src/inference/node/engine-threads.ts";
import { openWasm } from "../../../src/inference/node/open-wasm.ts";
import { loadModel } from "../../../src/local/resolve-model.ts";
import type { ModelPackage } from "../../../src/model-package/load-package.ts";
import { argmaxBytes } from "../../../src/tiling/merge/argmax.ts";
import { normalizeWindows } from "../../../src/tiling/pixels/normalize.ts";
import { encodeProbabilities } from "../../../src/tiling/wire/mask-record.ts";
import { KERNELS } from "../../builders/engine-graph.ts";

const MODELS = join(import.meta.dirname, "../../../models");
const [RELAXED] = KERNELS as [(typeof KERNELS)[0]];

const load = (name: string, variant = "int4-edge") => loadModel(join(MODELS, name), { variant });

function goldenInput(model: ModelPackage) {
  const { spec, input } = model.golden;
  const scaling = toIntensityNormalization(model.manifest, spec.input.low, spec.input.high);
  return { pixels: { data: input, shape: spec.input.shape }, scaling };
}

/** The graph with more outputs: fields of a protocol buffer that is repeated are merged. */
function withOutputs(bytes: Uint8Array, names: readonly string[]): Uint8Array {
  const writer = new PbfWriter();
  writer.writeMessage(
    7,
    (_, graph) => {
      for (const name of names)
        graph.writeMessage(12, (__, info) => info.writeStringField(1, name), undefined);
    },
    undefined,
  );
  return Buffer.concat([bytes, writer.finish()]);
}

describe.each(["nuclei", "hippocampus"])("the network %s", (name) => {
  it("agrees with onnxruntime-web layer by layer", async () => {
    const model = await load(name);
    const { bytes } = model.files[0]!;
    // What each block hands on: sums of residuals `[1, h, w, C]`.
    const layers = readOnnxGraph(bytes)
      .nodes.filter(
        ({ operator, outputs }) => operator === "Add" && /coder\.\d\.\d\/Add_2_output_0$/.test(outputs[0]!),
      )
      .map(({ outputs }) => outputs[0]!);
    expect(layers.length).toBeGreaterThan(10);
    const { pixels, scaling } = goldenInput(model);
    const input = normalizeWindows(pixels, 3, scaling);
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(withOutputs(bytes, layers), {
      executionProviders: ["wasm"],
    });
    const expected = await session.run({ pixels: new ort.Tensor("float32", input.data, input.shape) });
    await session.release();
    for (const layer of [...layers, "logits"]) {
      const plan = planGraph(bytes, { input: "pixels", output: layer, shape: input.shape });
      const engine = await Engine.create(plan, RELAXED);
      engine.input.set(Float32Array.from(pixels.data, (v) => lookup(v, scaling)));
      engine.run();
      const [actual, wanted] = [engine.scores(), expected[layer]!.data as Float32Array];
      expect(plan.outputShape).toEqual(expected[layer]!.dims);
      let [error, power] = [0, 0];
      for (let i = 0; i < wanted.length; i++) {
        error += (actual[i]! - wanted[i]!) ** 2;
        power += wanted[i]! ** 2;
      }
      // Rounding to 8 bits there and to 7 bits a row here.
      expect(Math.sqrt(error / power), layer).toBeLessThan(0.04);
    }
  });

  it("passes its golden tile on both builds, in both precisions, with the same labels as bytes", async () => {
    const model = await load(name);
    for (const kernels of KERNELS) {
      const segmenter = await EngineSegmenter.create(model, kernels);
      expect(segmenter.heapBytes).toBeLessThan(24 * 2 ** 20);
      await checkGoldenTile(segmenter, model);
      // The same weights with float32 activations: nearer than the edge variant's golden tile, which is rounded itself.
      const exact = await checkGoldenTile(segmenter, await load(name, "int4"));
      expect(exact.maxAbs).toBeLessThan(0.04);
      const { pixels, scaling } = goldenInput(model);
      const options = { scaling, precision: "u8", labels: true } as const;
      const { data, labels, shape } = await segmenter.segmentEncoded(pixels, options);
      const bytes = data[0] as Uint8Array;
      const probabilities = await segmenter.segment(pixels, { scaling });
      expect(probabilities.shape).toEqual([1, ...shape]);
      expect(bytes).toEqual(encodeProbabilities(probabilities.data, "u8"));
      const own = new Uint8Array(labels![0]!.length);
      argmaxBytes(bytes, own, 3);
      expect(own).toEqual(labels![0]);
    }
  });

  it("gives the same bytes in threads, and from the variant that is packed for other runtimes", async () => {
    const model = await load(name);
    const { pixels, scaling } = goldenInput(model);
    const single = await EngineSegmenter.create(model, RELAXED);
    const wanted = (await single.segmentEncoded(pixels, { scaling, precision: "u8" })).data[0];
    const threads = await openEngineThreads(model, RELAXED, { threads: 2 });
    const packed = await openWasm(await load(name, "int4"), { threads: 1 });
    try {
      const twice = {
        data: Uint8Array.from([...pixels.data, ...pixels.data]),
        shape: [2, ...pixels.shape.slice(1)],
      };
      const { data } = await threads.segmentEncoded(twice, { scaling, precision: "u8" });
      expect(data).toEqual([wanted, wanted]);
      expect(threads.runMilliseconds).toBeGreaterThan(0);
      expect(packed.info.runtime).toBe(single.info.runtime);
      expect((await packed.segmentEncoded!(pixels, { scaling, precision: "u8" })).data[0]).toEqual(wanted);
    } finally {
      await threads.close();
      await packed.close();
    }
  });
});

describe("a segmenter on the engine", () => {
  it("refuses windows of another size, other channels and an aborted request, and goes on", async () => {
    const model = await load("hippocampus");
    const threads = await openEngineThreads(model, RELAXED, { threads: 1 });
    const { pixels, scaling } = goldenInput(model);
    try {
      const wrong = { data: new Uint8Array(64 * 64 * 3), shape: [1, 64, 64, 3] };
      await expect(threads.segment(wrong, { scaling })).rejects.toThrow(
        "windows are 64×64, the model takes 128×128",
      );
      const two = { data: new Uint8Array(128 * 128 * 2), shape: [1, 128, 128, 2] };
      await expect(threads.segment(two, { scaling })).rejects.toThrow(
        "pixels have 2 channels, the model takes 3",
      );
      const abort = new AbortController();
      const running = threads.segment(pixels, { scaling, signal: abort.signal });
      abort.abort(new Error("stopped"));
      await expect(running).rejects.toThrow("stopped");
      const after = await threads.segment(pixels, { scaling, precision: "u8" });
      expect(after.data.every((p) => p >= 0 && p <= 1)).toBe(true);
    } finally {
      await threads.close();
    }
  });

  it("leaves other networks to onnxruntime-web, openly", async () => {
    const model = await load("hippocampus");
    const [file] = model.files;
    // The name of an operator that the engine does not have, as long as the one that it replaces.
    const bytes = Buffer.from(file!.bytes);
    for (let at = bytes.indexOf("Relu"); at >= 0; at = bytes.indexOf("Relu", at + 4)) {
      if (bytes[at - 2] === 0x22 && bytes[at - 1] === 4) bytes.write("Sign", at);
    }
    const other = { ...model, files: [{ ...file!, bytes: new Uint8Array(bytes) }] };
    const segmenter = await openWasm(other);
    expect(segmenter.info.runtime).toMatch(/^onnxruntime-web /);
    await segmenter.close();
  });
});

function lookup(v: number, { low, high }: { low: number; high: number }): number {
  return Math.min(1, Math.max(0, (v - low) / (high - low))) * 2 - 1;
}

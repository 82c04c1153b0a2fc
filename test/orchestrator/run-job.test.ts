import { describe, expect, it } from "vitest";
import type { ByteSink } from "../../src/image/byte-sink.ts";
import type { ImageSource } from "../../src/image/image-source.ts";
import type { OutputTargets } from "../../src/image/output-targets.ts";
import type { Segmenter } from "../../src/inference/segmenter.ts";
import type { ModelPackage } from "../../src/model-package/load-package.ts";
import { labelMapInfo } from "../../src/orchestrator/label-map.ts";
import { emptyStatistics } from "../../src/orchestrator/map/map-and-merge.ts";
import { planCoverage } from "../../src/orchestrator/plan/plan-coverage.ts";
import { planJob } from "../../src/orchestrator/plan/plan-job.ts";
import { chooseOutputs } from "../../src/orchestrator/run/choose-outputs.ts";
import { type RunJobOptions, runJob } from "../../src/orchestrator/run/run-job.ts";
import { checkSettings } from "../../src/orchestrator/settings.ts";
import { systemClock } from "../../src/portable/system-clock.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { product, type Rect } from "../../src/tiling/grid/raster.ts";
import { openLabelStore } from "../../src/writers/ome-zarr/label-store.ts";

const SHAPE = [150, 200];
const WINDOW = [64, 64];

/** Bright discs on a dark ground, one channel. */
function sample(y: number, x: number): number {
  return ((y % 50) - 25) ** 2 + ((x % 50) - 25) ** 2 < 200 ? 255 : 0;
}

const source = {
  format: "test",
  axes: "yx",
  dtype: "uint8",
  levels: [{ shape: SHAPE, downsample: [1, 1], chunk: [64, 64] }],
  channels: [{}],
  spacing: { values: [0.5, 0.5], unit: "micrometer" },
  etag: "etag",
  byteLength: product(SHAPE),
  bytesRead: 0,
  async readRegion(_level: number, { origin, size }: Rect) {
    const [y0, x0] = origin as [number, number];
    const [height, width] = size as [number, number];
    const data = Uint8Array.from({ length: height * width }, (_, i) =>
      sample(y0 + Math.floor(i / width), x0 + (i % width)),
    );
    return { data, shape: [...size, 1] };
  },
} as unknown as ImageSource;

const model = {
  manifest: {
    name: "threshold",
    version: "1.0.0",
    classes: [
      { name: "background", color: "#000000" },
      { name: "disc", color: "#00c000" },
    ],
    input: {
      axes: "yx",
      channels: 1,
      spacing: { y: 0.5, x: 0.5, unit: "micrometer" },
      spacingTolerance: 0.1,
      normalization: { kind: "range", low: 0, high: 255 },
    },
    window: { size: WINDOW, overlapRatio: 0.25, importance: "gaussian", policy: "monai" },
    output: { activation: "softmax" },
  },
  hash: "0".repeat(64),
} as unknown as ModelPackage;

/** Class 1 where the pixel is bright. Counts its calls. */
class ThresholdSegmenter implements Segmenter {
  readonly info = {
    model: "threshold",
    variant: "fp32",
    runtime: "test",
    threads: 1,
    classes: 2,
    window: WINDOW,
    channels: 1,
  };
  windows = 0;
  running = 0;
  mostRunning = 0;

  async segment({ data, shape }: { data: ArrayLike<number>; shape: readonly number[] }) {
    this.windows += shape[0]!;
    this.mostRunning = Math.max(this.mostRunning, ++this.running);
    await new Promise((resolve) => setImmediate(resolve));
    this.running--;
    const size = product(WINDOW);
    const out = new Float32Array(shape[0]! * 2 * size);
    for (let n = 0; n < shape[0]!; n++) {
      for (let i = 0; i < size; i++) out[(2 * n + (data[n * size + i] ? 1 : 0)) * size + i] = 1;
    }
    return { data: out, shape: [shape[0]!, 2, ...WINDOW] };
  }

  async close() {}
}

/** Keeps files in memory. @param fail throws instead of writing */
function memoryTargets(fail?: Error) {
  const files = new Map<string, string>();
  const targets = {
    async file(name): Promise<ByteSink> {
      const pieces: Uint8Array[] = [];
      return {
        byteLength: 0,
        async append(bytes) {
          if (fail) throw fail;
          pieces.push(bytes.slice());
        },
        async finish() {
          if (fail) throw fail;
          files.set(name, Buffer.concat(pieces).toString("utf8"));
          return { name, byteLength: 0, sha256: "" };
        },
        async abort() {},
      };
    },
  } as Partial<OutputTargets> as OutputTargets;
  return { files, targets };
}

async function setUp(options: { store?: MemoryStore; fail?: Error } = {}) {
  const { store = new MemoryStore(), fail } = options;
  const settings = checkSettings({ tissueMask: false });
  const plan = await planJob(source, model.manifest, settings);
  const segmenter = new ThresholdSegmenter();
  const { files, targets } = memoryTargets(fail);
  const phases: string[] = [];
  const calls = { mapped: 0 };
  const run: RunJobOptions = {
    source,
    sourceName: "discs",
    model,
    plan,
    coverage: planCoverage(plan),
    backends: [{ name: "test", segmenter, concurrency: 2, windowsPerRequest: 1 }],
    labelStore: await openLabelStore(store, "labels", labelMapInfo(model.manifest, plan)),
    targets,
    outputs: chooseOutputs(source, ["measurements.csv"]),
    batchSize: 1,
    clock: systemClock,
    statistics: emptyStatistics(),
    isResumed: false,
    whileMapping: (map) => map(),
    async onMapped() {
      calls.mapped++;
    },
    onPhase: (phase) => phases.push(phase),
    onProgress() {},
    onDisabled() {},
  };
  return { run, store, segmenter, files, phases, calls };
}

describe("runJob", () => {
  it("labels every sample as the model does, and writes the outputs", async () => {
    const { run, segmenter, files, phases, calls } = await setUp();
    const result = await runJob(run);
    expect(result.report.outputs.map(({ name }) => name)).toEqual(["measurements.csv"]);
    // 3 × 4 discs, one object each.
    expect(
      files
        .get("measurements.csv")!
        .split("\r\n")
        .filter((row) => row.startsWith("object,")),
    ).toHaveLength(12);
    expect(segmenter.windows).toBe(run.plan.kept.size);
    expect(result.backends).toMatchObject([{ name: "test", windows: run.plan.kept.size, errors: {} }]);
    expect(phases).toEqual(["segmenting", "writing outputs"]);
    expect(calls.mapped).toBe(1);
    const tile = await run.labelStore.readTile([0, 0]);
    const [, width] = run.plan.chunk as [number, number];
    for (let y = 0; y < SHAPE[0]!; y++) {
      for (let x = 0; x < SHAPE[1]!; x++)
        if (tile!.data[y * width + x] !== (sample(y, x) ? 1 : 0))
          throw new Error(`wrong label at ${y}, ${x}`);
    }
  });

  it("computes no chunk again that the label store holds, and gives the same outputs", async () => {
    const first = await setUp();
    await runJob(first.run);
    const again = await setUp({ store: first.store });
    await runJob({ ...again.run, isResumed: true });
    expect(again.segmenter.windows).toBe(0);
    expect(again.files.get("measurements.csv")).toBe(first.files.get("measurements.csv"));
  });

  it("throws the error of an output, with nothing running afterwards", async () => {
    const full = new Error("the disk is full");
    const { run, segmenter } = await setUp({ fail: full });
    await expect(runJob(run)).rejects.toBe(full);
    expect(segmenter.running).toBe(0);
  });

  it("throws the reason of an abort and still saves the statistics", async () => {
    const reason = new Error("stop");
    const { run, segmenter, files, calls } = await setUp();
    const controller = new AbortController();
    const stopping = {
      ...run,
      signal: controller.signal,
      onProgress: () => controller.abort(reason),
    };
    await expect(runJob(stopping)).rejects.toBe(reason);
    expect(calls.mapped).toBe(1);
    expect(files.size).toBe(0);
    expect(segmenter.windows).toBeLessThan(run.plan.kept.size);
  });
});

describe("chooseOutputs", () => {
  it("takes the requested outputs, or the defaults of the source", () => {
    expect(chooseOutputs(source, ["overlay.png"])).toEqual(["overlay.png"]);
    expect(chooseOutputs(source, undefined)).toContain("labels.ome.zarr");
    expect(chooseOutputs(source, undefined)).not.toContain("labels.seg.dcm");
  });

  it("rejects outputs that the source cannot have", () => {
    expect(() => chooseOutputs(source, ["labels.nii.gz"])).toThrow("labels.nii.gz is for volumes");
    expect(() => chooseOutputs(source, ["labels.seg.dcm"])).toThrow("choose another output");
  });
});

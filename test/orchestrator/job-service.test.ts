import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodePlannedJob,
  encodePlannedJob,
  type JobDocument,
} from "../../src/contracts/job-plan-message.ts";
import { parseBackend } from "../../src/local/backends.ts";
import { JobError } from "../../src/orchestrator/errors.ts";
import type { JobPlan } from "../../src/orchestrator/job-plan.ts";
import { edgeShardBlock } from "../../src/orchestrator/map/edge-shards.ts";
import { addStatistics, mergeBlock, planMergeBlocks } from "../../src/orchestrator/map/merge-block.ts";
import { VERSION } from "../../src/orchestrator/version.ts";
import { intersect } from "../../src/tiling/grid/box.ts";
import { chunkGrid, chunkRect } from "../../src/tiling/grid/chunk-grid.ts";
import { computeCoverage } from "../../src/tiling/grid/coverage.ts";
import { planShards, shardAt, shardsTouching } from "../../src/tiling/grid/shards.ts";
import { planWindowGrid, windowRect } from "../../src/tiling/grid/window-grid.ts";
import { WindowSet } from "../../src/tiling/grid/window-set.ts";
import { importanceMap } from "../../src/tiling/merge/importance-map.ts";
import { Merger } from "../../src/tiling/merge/merger.ts";
import { countSeams, emptySeamCounts, seamLines } from "../../src/tiling/merge/seam-score.ts";
import type { MaskRecord } from "../../src/tiling/wire/mask-record.ts";
import { WireFormatError } from "../../src/tiling/wire/wire-message.ts";

const CLASSES = 3;

/** A plan of a small plane, with windows left out, and chunks and shards of any size. */
const plans = fc
  .record({
    shape: fc.tuple(fc.integer({ min: 1, max: 90 }), fc.integer({ min: 1, max: 140 })),
    window: fc.tuple(fc.integer({ min: 4, max: 20 }), fc.integer({ min: 4, max: 20 })),
    overlapRatio: fc.constantFrom(0, 0.25, 0.5),
    chunk: fc.tuple(fc.constantFrom(8, 16), fc.constantFrom(8, 32)),
    shardBlock: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 8 })),
    seed: fc.integer({ min: 1, max: 1 << 30 }),
    share: fc.constantFrom(0.3, 0.8, 1),
    thumbnail: fc.boolean(),
  })
  .map(({ shape, window, overlapRatio, chunk, shardBlock, seed, share, thumbnail }): JobPlan => {
    const grid = planWindowGrid({ shape, window, overlapRatio });
    const total = grid.starts.reduce((n, s) => n * s.length, 1);
    const kept = new WindowSet(total);
    const random = randomOf(seed);
    for (let i = 0; i < total; i++) if (random() < share) kept.add(i);
    if (kept.size === 0) kept.add(seed % total);
    return {
      level: 1,
      mpp: [0.5, 0.5],
      levelShape: shape,
      downsample: [2, 2],
      region: { origin: [0, 0], size: shape },
      region0: { origin: [0, 0], size: shape.map((n) => 2 * n) },
      grid,
      kept,
      modelWindow: window,
      importance: "gaussian-monai",
      precision: "u8",
      channels: [0, 1, 2],
      scaling: { low: 1.5, high: 254.25 },
      shardBlock,
      chunk,
      tissueFraction: share,
      thumbnail: thumbnail ? { data: Uint8Array.of(1, 2, 3, 4, 5, 6), shape: [1, 2, 3] } : undefined,
    };
  });

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** The same record for a window whoever asks. */
function recordOf(plan: JobPlan, window: number): MaskRecord {
  const random = randomOf(window + 7);
  const [height, width] = plan.grid.window as [number, number];
  const data = Uint8Array.from({ length: CLASSES * height * width }, () => random() * 256);
  return { window, precision: "u8", data };
}

function optionsOf(plan: JobPlan) {
  return {
    grid: plan.grid,
    kept: plan.kept,
    importance: importanceMap(plan.importance, plan.grid.window),
    classes: CLASSES,
    precision: plan.precision,
    chunk: plan.chunk,
  };
}

describe("merging in blocks", () => {
  it("gives every chunk of the plan once, with the bytes and the seams of merging the plane at once", async () => {
    await fc.assert(
      fc.asyncProperty(plans, async (plan) => {
        const whole = new Map<string, string>();
        const merger = new Merger(optionsOf(plan));
        const seams = emptySeamCounts();
        const lines = seamLines(plan.grid);
        const chunks = chunkGrid(plan.region.size, plan.chunk);
        for (const window of plan.kept) {
          for (const { index, raster } of merger.add(recordOf(plan, window))) {
            whole.set(index.join(), Buffer.from(raster.data as Uint8Array).toString("hex"));
            countSeams(
              raster as { data: Uint8Array; shape: readonly number[] },
              chunkRect(chunks, index),
              lines,
              seams,
            );
          }
        }
        const inBlocks = new Map<string, string>();
        let sum = { windows: 0, seams: emptySeamCounts(), compared: 0, disagreed: 0 };
        for (const block of planMergeBlocks(plan)) {
          const statistics = await mergeBlock({
            plan,
            classes: CLASSES,
            block,
            readRecords: async (shard) => shard.windows.map((w) => recordOf(plan, w)),
            writeChunk: async ({ index, raster }) => {
              expect(inBlocks.has(index.join())).toBe(false);
              inBlocks.set(index.join(), Buffer.from(raster.data as Uint8Array).toString("hex"));
            },
          });
          sum = addStatistics(sum, statistics);
        }
        expect(inBlocks).toEqual(whole);
        expect(sum.seams).toEqual(seams);
        expect(inBlocks.size).toBe(computeCoverage(plan.grid, plan.kept, plan.chunk).chunks.size);
        expect(sum.windows).toBeGreaterThanOrEqual(plan.kept.size);
      }),
      { numRuns: 60 },
    );
  });
});

describe("shards of a part", () => {
  it("shards of a part are those with a window over it, equal to those of the whole plan", () => {
    fc.assert(
      fc.property(plans, fc.nat(1000), fc.nat(1000), (plan, y, x) => {
        const { grid, kept, shardBlock: block } = plan;
        const origin = [y % grid.shape[0]!, x % grid.shape[1]!];
        const rect = { origin, size: [1 + (x % 7), 1 + (y % 9)] };
        const touching = new Set(shardsTouching(grid, block, rect));
        for (const shard of planShards(grid, kept, block)) {
          expect(shardAt(grid, kept, block, shard.id)).toEqual(shard);
          const over = shard.windows.some((w) => intersect(windowRect(grid, w), rect));
          if (over) expect(touching).toContain(shard.id);
        }
        const ids = new Set([...planShards(grid, kept, block)].map((s) => s.id));
        for (const id of touching) expect(shardAt(grid, kept, block, id) !== undefined).toBe(ids.has(id));
        expect(shardAt(grid, kept, block, -1)).toBeUndefined();
        expect(shardAt(grid, kept, block, 1e9)).toBeUndefined();
      }),
    );
  });
});

describe("a plan on its way", () => {
  const job: JobDocument = {
    id: "0".repeat(32),
    tilewright: VERSION,
    createdAt: "2026-11-24T12:00:00.000Z",
    source: { uri: "r2://scans/größe.svs", name: "größe.svs", etag: "e", byteLength: 5 },
    model: { name: "m", version: "1", variant: "v", hash: "h", license: "Apache-2.0" },
    request: { source: "r2://scans/größe.svs", settings: { precision: "u8", tissueMask: true } },
  };

  it("survives encoding and decoding", () => {
    fc.assert(
      fc.property(plans, (plan) => {
        const back = decodePlannedJob(encodePlannedJob({ job, plan }));
        expect(back.job).toEqual(job);
        expect({ ...back.plan, kept: [...back.plan.kept] }).toEqual({ ...plan, kept: [...plan.kept] });
        expect([...planShards(back.plan.grid, back.plan.kept, back.plan.shardBlock)]).toEqual([
          ...planShards(plan.grid, plan.kept, plan.shardBlock),
        ]);
      }),
      { numRuns: 50 },
    );
  });

  it("is rejected if truncated", () => {
    const [plan] = fc.sample(plans, { numRuns: 1, seed: 1 });
    const bytes = encodePlannedJob({ job, plan: plan! });
    expect(() => decodePlannedJob(bytes.subarray(0, bytes.length - 1))).toThrow(WireFormatError);
    expect(() => decodePlannedJob(new Uint8Array(3))).toThrow(WireFormatError);
  });
});

describe("shards of an edge function", () => {
  it("fit their bounds, and are complete where possible", () => {
    expect(edgeShardBlock({ window: [224, 224], channels: 3 }, 3, "u8")).toEqual([4, 8]);
    fc.assert(
      fc.property(
        fc.integer({ min: 8, max: 1000 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 2, max: 6 }),
        fc.constantFrom("u8", "f16", "f32"),
        (side, channels, classes, precision) => {
          const bytes = { u8: 1, f16: 2, f32: 4 }[precision];
          const fits = (windows: number) =>
            windows * side * side * classes * bytes <= 6 * 2 ** 20 &&
            windows * side * side * channels * 2 <= 12 * 2 ** 20;
          const block = () => edgeShardBlock({ window: [side, side], channels }, classes, precision);
          if (!fits(1)) return void expect(block).toThrow(JobError);
          const [rows, columns] = block();
          expect(fits(rows * columns)).toBe(true);
          if (rows * columns < 32) expect(fits(2 * rows * columns)).toBe(false);
        },
      ),
    );
  });

  it("throw if not even one window fits", () => {
    expect(() => edgeShardBlock({ window: [4096, 4096], channels: 3 }, 3, "u8")).toThrow(JobError);
  });
});

describe("backends", () => {
  it("are named", () => {
    expect(parseBackend("cpu")).toEqual({ kind: "cpu" });
    expect(parseBackend("local")).toEqual({ kind: "cpu" });
    for (const kind of ["wasm", "cuda", "webgpu"]) expect(parseBackend(kind)).toEqual({ kind });
    expect(parseBackend("runner:http://g:8080")).toEqual({ kind: "runner", url: "http://g:8080" });
    // As release 0.1 called it.
    expect(parseBackend("gpu:http://g:8080")).toEqual({ kind: "runner", url: "http://g:8080" });
    expect(parseBackend("edge:https://e.example/x")).toEqual({ kind: "edge", url: "https://e.example/x" });
    for (const text of ["gpu", "edge:", "edge:ftp://x", "edge:http://", ""]) {
      expect(() => parseBackend(text)).toThrow(JobError);
    }
  });
});

it("the version is that of the package", () => {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  expect(VERSION).toBe(version);
});

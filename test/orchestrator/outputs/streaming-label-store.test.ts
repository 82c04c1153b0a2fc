import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LabelChunk, LabelTile } from "../../../src/image/label-sink.ts";
import { readSliceBlocks } from "../../../src/orchestrator/outputs/label-slice-blocks.ts";
import { StreamingLabelStore } from "../../../src/orchestrator/outputs/streaming-label-store.ts";
import { MemoryStore } from "../../../src/storage/memory-store.ts";
import { openLabelStore } from "../../../src/writers/ome-zarr/label-store.ts";
import { labelMapInfo } from "./label-map.ts";

const CHUNK = [4, 8];
const GRID = 6;

function open(store = new MemoryStore()) {
  return openLabelStore(store, "labels", {
    shape: [CHUNK[0]! * GRID, CHUNK[1]!],
    chunk: CHUNK,
    dtype: "uint8",
    axes: "yx",
    spacing: undefined,
    placement: { origin: [0, 0], downsample: [1, 1] },
    classes: [],
    name: "made",
  });
}

/** Chunk `row` is all of one class; 0 is background. */
function chunk(row: number, value: number): LabelChunk {
  return { index: [row, 0], raster: { data: new Uint8Array(32).fill(value), shape: CHUNK } };
}

const classOf = (tile: LabelTile | undefined) => tile?.data[5] ?? 0;

describe("StreamingLabelStore", () => {
  it("returns each chunk as the finished store does, in any order of writes and reads", async () => {
    const orders = fc.record({
      values: fc.array(fc.nat(2), { minLength: GRID, maxLength: GRID }),
      expected: fc.array(fc.boolean(), { minLength: GRID, maxLength: GRID }),
      before: fc.subarray([0, 1, 2, 3, 4, 5]),
      steps: fc.shuffledSubarray(
        Array.from({ length: GRID }, (_, row) => [`write ${row}`, `read ${row}`, `read ${row}`]).flat(),
        { minLength: 3 * GRID },
      ),
    });
    await fc.assert(
      fc.asyncProperty(orders, async ({ values, expected, before, steps }) => {
        const labelStore = await open();
        for (const row of before) if (expected[row]) await labelStore.writeChunk(chunk(row, values[row]!));
        const growing = new StreamingLabelStore(labelStore, ([row]) => expected[row!]!);
        const reads: Promise<void>[] = [];
        for (const step of steps) {
          const row = Number(step.split(" ")[1]);
          if (step.startsWith("read")) {
            const wanted = expected[row] ? values[row] : 0;
            reads.push(growing.readTile([row, 0]).then((tile) => expect(classOf(tile)).toBe(wanted)));
          } else if (expected[row] && !before.includes(row)) {
            await growing.writeChunk(chunk(row, values[row]!));
          }
        }
        await Promise.all(reads);
        for (let row = 0; row < GRID; row++)
          expect(classOf(await growing.readTile([row, 0]))).toBe(expected[row] ? values[row] : 0);
      }),
      { numRuns: 60 },
    );
  });

  it("returns chunks written just before a read from memory", async () => {
    const store = new MemoryStore();
    const growing = new StreamingLabelStore(await open(store), () => true);
    let reads = 0;
    const get = store.get.bind(store);
    store.get = (...args: Parameters<typeof get>) => {
      reads++;
      return get(...args);
    };
    const first = growing.readTile([0, 0]);
    // All at once, as a layer of windows ends; the reader goes on while they are being written.
    const written = Array.from({ length: GRID }, (_, row) => growing.writeChunk(chunk(row, 1)));
    await first;
    for (let row = 1; row < GRID; row++) expect(classOf(await growing.readTile([row, 0]))).toBe(1);
    await Promise.all(written);
    expect(reads).toBe(0);
    expect(classOf(await growing.readTile([3, 0]))).toBe(1);
    expect(reads).toBe(1);
  });

  it("throws the reason of the end to waiting and later reads", async () => {
    const growing = new StreamingLabelStore(await open(), () => true);
    const waiting = growing.readTile([1, 0]);
    await growing.writeChunk(chunk(0, 1));
    growing.end(new Error("the model failed"));
    await expect(waiting).rejects.toThrow("the model failed");
    await expect(growing.readTile([2, 0])).rejects.toThrow("the model failed");
    expect(classOf(await growing.readTile([0, 0]))).toBe(1);
  });

  it("rejects all waiting reads if outputs stop before they start", async () => {
    const labelStore = await openLabelStore(new MemoryStore(), "labels", labelMapInfo([2, 4, 8], [1, 4, 8]));
    const growing = new StreamingLabelStore(labelStore, () => true);
    const stopped = new Error("stopped");
    const slabs = readSliceBlocks(growing, AbortSignal.abort(stopped));
    await expect(slabs.next()).rejects.toBe(stopped);
    growing.end(stopped);
    // A rejection that nobody hears would end the process, and fails this test.
    await new Promise((resolve) => setTimeout(resolve, 10));
  });
});

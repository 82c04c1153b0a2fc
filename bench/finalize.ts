import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteSink } from "../src/image/byte-sink.ts";
import type { LabelMapInfo, WrittenOutput } from "../src/image/label-sink.ts";
import { writeOutputs } from "../src/orchestrator/outputs/write-outputs.ts";
import { FsStore } from "../src/storage/fs-store.ts";
import { createLabelFile } from "../src/writers/create-label-file.ts";
import { openLabelStore } from "../src/writers/ome-zarr/label-store.ts";

/**
 * Memory and CPU time of writing outputs: label pyramids, objects and tables of a label map full of nuclei, one in 45×45
 * samples. The output is counted and discarded.
 *   node --expose-gc bench/finalize.ts [widths: 16384 28672 57344 114688] [--height=1600]
 */
const { gc } = globalThis as { gc?: () => void };
if (!gc) throw new Error("run it with --expose-gc");
const given = process.argv.slice(2).filter((text) => !text.startsWith("--"));
const widths = given.length > 0 ? given.map(Number) : [16384, 28672, 57344, 114688];
const height = Number(process.argv.find((text) => text.startsWith("--height="))?.slice(9) ?? 1600);
const CHUNK = [512, 2048] as const;
const PITCH = 45;

/** A nucleus with a diameter of 20 to 34 samples near the middle of each cell, with a boundary of two samples. */
function labelAt(y: number, x: number): number {
  const [row, column] = [Math.floor(y / PITCH), Math.floor(x / PITCH)];
  const hash = Math.imul(row * 7919 + column, 2654435761) >>> 0;
  const radius = 10 + (hash & 7);
  const dy = (y % PITCH) - 22 - ((hash >> 8) & 3);
  const dx = (x % PITCH) - 22 - ((hash >> 12) & 3);
  const distance = Math.sqrt(dy * dy + dx * dx);
  return distance < radius - 2 ? 1 : distance < radius ? 2 : 0;
}

class CountingSink implements ByteSink {
  byteLength = 0;
  readonly #name: string;
  readonly #hash = createHash("sha256");
  constructor(name: string) {
    this.#name = name;
  }
  async append(bytes: Uint8Array): Promise<void> {
    this.byteLength += bytes.length;
    this.#hash.update(bytes);
  }
  async finish(): Promise<WrittenOutput> {
    return { name: this.#name, byteLength: this.byteLength, sha256: this.#hash.digest("hex") };
  }
  async abort(): Promise<void> {}
}

/** CPU time comes from a run without memory samples, which cost more than the run. */
async function finish(width: number, isSampled: boolean): Promise<string> {
  const info: LabelMapInfo = {
    shape: [height, width],
    chunk: [...CHUNK],
    dtype: "uint8",
    axes: "yx",
    spacing: { values: [0.25, 0.25], unit: "micrometer" },
    placement: { origin: [0, 0], downsample: [1, 1] },
    classes: ["background", "interior", "boundary"].map((name) => ({ name, color: "#2f9e44" })),
    name: "made",
  };
  const directory = mkdtempSync(join(tmpdir(), "tilewright-finish-"));
  const store = new FsStore(directory);
  try {
    const labelStore = await openLabelStore(store, "labels.ome.zarr", info);
    for (let row = 0; row * CHUNK[0] < height; row++) {
      for (let column = 0; column * CHUNK[1] < width; column++) {
        const shape = [
          Math.min(CHUNK[0], height - row * CHUNK[0]),
          Math.min(CHUNK[1], width - column * CHUNK[1]),
        ];
        const data = Uint8Array.from({ length: shape[0]! * shape[1]! }, (_, i) =>
          labelAt(row * CHUNK[0] + Math.floor(i / shape[1]!), column * CHUNK[1] + (i % shape[1]!)),
        );
        await labelStore.writeChunk({ index: [row, column], raster: { data, shape } });
      }
    }
    const live = () => {
      gc!();
      const { arrayBuffers, heapUsed } = process.memoryUsage();
      return arrayBuffers + heapUsed;
    };
    // Buffers of making the map are freed a little later.
    await new Promise((resolve) => setTimeout(resolve, 500));
    gc!();
    const before = live();
    let peak = 0;
    let reads = 0;
    const readTile = labelStore.readTile.bind(labelStore);
    labelStore.readTile = async (index, options) => {
      const tile = await readTile(index, options);
      if (isSampled && ++reads % 4 === 0) peak = Math.max(peak, live() - before);
      return tile;
    };
    const cpuBefore = process.cpuUsage();
    const { outputs } = await writeOutputs({
      labelStore,
      outputs: ["labels.ome.zarr", "labels.ome.tiff", "objects.geojson", "measurements.csv"],
      targets: {
        labels: async (name, map, origin) =>
          name === "labels.ome.zarr"
            ? labelStore.levelSink({ name })
            : createLabelFile(name, new CountingSink(name), map, origin),
        file: async (name) => new CountingSink(name),
        picture: async (name) => ({ name, byteLength: 0, sha256: "" }),
      },
      origin: { source: {} },
      objects: {
        interior: [1],
        boundary: [2],
        connectivity: 4,
        minArea: 20,
        maxGrow: 8,
        className: "nucleus",
      },
      source: "made",
      idSeed: "0123456789abcdef01",
      analysedPixels: width * height,
      onProgress: () => {
        if (isSampled) peak = Math.max(peak, live() - before);
      },
    });
    const { user, system } = process.cpuUsage(cpuBefore);
    const cpu = (user + system) / 1e6 / ((width * height) / 1e9);
    const digest = createHash("sha256")
      .update(outputs.map(({ sha256 }) => sha256).join())
      .digest("hex");
    if (!isSampled) return `${width}×${height}: ${cpu.toFixed(0)} s of CPU a gigapixel`;
    return `${width}×${height}: at most ${(peak / 1e6).toFixed(0)} MB are alive, ${(peak / width).toFixed(0)} bytes a column; outputs ${digest.slice(0, 8)}`;
  } finally {
    await store.close();
    rmSync(directory, { recursive: true });
  }
}

for (const width of widths) {
  for (const isSampled of [false, true]) console.log(await finish(width, isSampled));
}

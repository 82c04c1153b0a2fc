import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { afterAll, describe, expect, it } from "vitest";
import type { LabelMapInfo } from "../../../src/image/label-sink.ts";
import { writeOutputs } from "../../../src/orchestrator/outputs/write-outputs.ts";
import { FsStore } from "../../../src/storage/fs-store.ts";
import { createDirectoryTargets } from "../../../src/writers/directory-targets.ts";
import { openLabelStore } from "../../../src/writers/ome-zarr/label-store.ts";
import { cells, labelMapInfo, storeLabels } from "./label-map.ts";

const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

interface TableRow {
  number: number;
  class: string;
  id: string;
  bbox: { xmin: number; ymin: number; xmax: number; ymax: number };
  geometry: { type: string; coordinates: number[][][] };
  area_px: number;
  area_um2: number | null;
  perimeter_um: number | null;
  circularity: number;
  centroid_x_px: number;
}

/** Both files of the objects of a label map. */
async function write(info: LabelMapInfo, labels: Uint8Array) {
  const directory = mkdtempSync(join(tmpdir(), "object-table-"));
  directories.push(directory);
  const store = new FsStore(directory);
  const labelStore = await openLabelStore(store, "labels.ome.zarr", info);
  await storeLabels(labelStore, labels);
  await writeOutputs({
    labelStore,
    outputs: ["objects.geojson", "objects.parquet"],
    targets: createDirectoryTargets({ directory, store, labelStore }),
    origin: { source: {} },
    objects: undefined,
    source: "slide",
    idSeed: "00112233445566778899",
    analysedPixels: labels.length,
  });
  await store.close();
  const file = await asyncBufferFromFile(join(directory, "objects.parquet"));
  return {
    file: join(directory, "objects.parquet"),
    metadata: await parquetMetadataAsync(file),
    rows: (await parquetReadObjects({ file })) as unknown as TableRow[],
    features: JSON.parse(readFileSync(join(directory, "objects.geojson"), "utf8")).features,
  };
}

describe("objects.parquet", () => {
  it("holds the objects of objects.geojson, whatever the label map", async () => {
    const maps = fc.record({
      shape: fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 })),
      seed: fc.nat(),
      spacing: fc.boolean(),
      downsample: fc.constantFrom(1, 2, 1.7),
    });
    await fc.assert(
      fc.asyncProperty(maps, async ({ shape, seed, spacing, downsample }) => {
        const labels = new Uint8Array(shape[0] * shape[1]);
        let state = seed;
        for (let i = 0; i < labels.length; i++) {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          labels[i] = (state >>> 28) % 3;
        }
        const made = labelMapInfo(shape, [16, 16]);
        const placement = { ...made.placement, downsample: [downsample, downsample] };
        const info = { ...made, placement, ...(!spacing && { spacing: undefined }) };
        const { rows, features } = await write(info, labels);
        expect(rows.length).toBe(features.length);
        const byId = new Map(rows.map((row) => [row.id, row]));
        for (const { id, geometry, properties } of features) {
          const row = byId.get(id)!;
          const rounded = JSON.parse(JSON.stringify(row.geometry), (_, value) =>
            typeof value === "number" ? Number(value.toFixed(3)) : value,
          );
          expect(rounded).toEqual(geometry);
          expect(row.class).toBe(properties.classification.name);
          const { measurements } = properties;
          expect(row.number).toBe(measurements["Object number"]);
          expect(row.circularity).toBeCloseTo(measurements.Circularity, 3);
          if (spacing) expect(row.area_um2).toBeCloseTo(measurements["Area µm^2"], 2);
          else expect([row.area_um2, row.perimeter_um]).toEqual([null, null]);
          for (const [x, y] of row.geometry.coordinates.flat(
            row.geometry.type === "Polygon" ? 1 : 2,
          ) as unknown as [number, number][]) {
            expect(x >= row.bbox.xmin && x <= row.bbox.xmax && y >= row.bbox.ymin && y <= row.bbox.ymax).toBe(
              true,
            );
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  it("has row groups with small boxes, each of which tells what it holds", async () => {
    // 14 400 squares, more than are held at a time.
    const side = 600;
    const labels = new Uint8Array(side * side);
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++) if (x % 5 < 3 && y % 5 < 3) labels[y * side + x] = 1;
    const { metadata, rows } = await write(labelMapInfo([side, side], [128, 128]), labels);
    expect(rows.length).toBe(14_400);
    expect(metadata.row_groups.length).toBeGreaterThanOrEqual(8);
    let first = 0;
    for (const group of metadata.row_groups) {
      const count = Number(group.num_rows);
      expect(count).toBeLessThanOrEqual(2048);
      const own = rows.slice(first, first + count);
      first += count;
      const stated = Object.fromEntries(
        group.columns
          .filter(({ meta_data }) => meta_data!.path_in_schema[0] === "bbox")
          .map(({ meta_data }) => [meta_data!.path_in_schema[1], meta_data!.statistics!]),
      );
      const low = (name: "xmin" | "ymin") => Math.min(...own.map(({ bbox }) => bbox[name]));
      const high = (name: "xmax" | "ymax") => Math.max(...own.map(({ bbox }) => bbox[name]));
      expect([stated.xmin!.min_value, stated.ymin!.min_value]).toEqual([low("xmin"), low("ymin")]);
      expect([stated.xmax!.max_value, stated.ymax!.max_value]).toEqual([high("xmax"), high("ymax")]);
      // A quarter of the width, in level-0 pixels.
      expect(high("xmax") - low("xmin")).toBeLessThan((2 * side) / 3);
    }
    const geo = JSON.parse(metadata.key_value_metadata!.find(({ key }) => key === "geo")!.value!);
    expect(geo.columns.geometry.covering.bbox.xmin).toEqual(["bbox", "xmin"]);
    expect(geo.columns.geometry.geometry_types).toEqual(["Polygon"]);
  });

  it("is the same file again, and valid without objects", async () => {
    const info = labelMapInfo([300, 260], [128, 128]);
    const labels = cells([300, 260], 60);
    const [a, b] = [await write(info, labels), await write(info, labels)];
    expect(readFileSync(a.file).equals(readFileSync(b.file))).toBe(true);
    const empty = await write(info, new Uint8Array(labels.length));
    expect([empty.rows, empty.features]).toEqual([[], []]);
  });
});

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { paintNuclei } from "../demo/paint-nuclei.ts";
import { writeTiledTiff } from "../demo/tiled-tiff.ts";
import type { RunManifest } from "../src/orchestrator/manifest/run-manifest.ts";
import { writePointwisePackage } from "../test/builders/pointwise-package.ts";
import { tilewright } from "./spawn-node.ts";

/**
 * Peak memory depending on the size of the image: pyramids of repeated tiles, a pointwise network, every output.
 *   node bench/memory.ts [--sizes 10000x10000,40000x40000]
 * Each job runs in its own process; the result is the peak resident size reported by the operating system.
 */
const { values } = parseArgs({ options: { sizes: { type: "string", default: "10000x10000,40000x40000" } } });
const directory = mkdtempSync(join(tmpdir(), "tilewright-memory-"));
const TILE = 512;
try {
  const model = writePointwisePackage(join(directory, "pointwise"), { window: 224, mpp: 0.25 });
  // A quarter of the tiles hold nuclei, the rest is empty glass, as on a slide.
  const full = paintNuclei(TILE, TILE, 0.25).rgb;
  const empty = new Uint8Array(TILE * TILE * 3);
  const peaks: number[] = [];
  for (const size of values.sizes.split(",")) {
    const [width, height] = size.split("x").map(Number) as [number, number];
    const slide = join(directory, `${size}.tiff`);
    const levels = [];
    for (let f = 1; Math.max(width, height) / f > 1024; f *= 4) {
      levels.push({ width: Math.ceil(width / f), height: Math.ceil(height / f) });
    }
    writeTiledTiff(slide, {
      levels,
      tileSize: TILE,
      mpp: 0.25,
      tile: (_, column, row) => (column % 2 === 0 && row % 2 === 0 ? full : empty),
    });
    const outputs = "labels.ome.zarr,labels.ome.tiff,objects.geojson,measurements.csv,overlay.png";
    const out = join(directory, "out");
    const how = ["--no-tissue-mask", "--force"];
    await tilewright("segment", slide, "--model", model, "--out", out, "--outputs", outputs, ...how);
    const { plan, seconds, peakMemoryBytes }: RunManifest = JSON.parse(
      readFileSync(join(out, "run.json"), "utf8"),
    );
    peaks.push(peakMemoryBytes!);
    console.log(
      `${size.padEnd(12)} ${String(plan.windows).padStart(6)} windows  peak ${(peakMemoryBytes! / 1e6).toFixed(0)} MB  ${seconds.total!.toFixed(0)} s  ${JSON.stringify(seconds)}`,
    );
  }
  if (peaks.length > 1)
    console.log(
      `largest / smallest image: ${(peaks.at(-1)! / peaks[0]!).toFixed(3)} of the memory (goal 1.15)`,
    );
} finally {
  rmSync(directory, { recursive: true, force: true });
}

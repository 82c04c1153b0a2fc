import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { RunManifest } from "../src/orchestrator/manifest/run-manifest.ts";
import { makeNifti } from "../test/builders/make-nifti.ts";
import { writeVolumePackage } from "../test/builders/volume-package.ts";
import { runJson, tilewright } from "./spawn-node.ts";

/**
 * A CT of 512×512×600 samples of int16 and a pointwise network of 5 classes, so that only reading, cutting, blending and
 * writing remain: peak memory over the size of the volume, and MONAI's SlidingWindowInferer on the same windows.
 *   node bench/volume.ts [--python <interpreter with monai>] [--slices 600] [--window 96]
 */
const { values } = parseArgs({
  options: {
    python: { type: "string" },
    slices: { type: "string", default: "600" },
    side: { type: "string", default: "512" },
    window: { type: "string", default: "96" },
  },
});
const [slices, side, window] = [values.slices, values.side, values.window].map(Number) as [
  number,
  number,
  number,
];
const directory = mkdtempSync(join(tmpdir(), "tilewright-volume-"));
try {
  const volume = join(directory, "ct.nii");
  const head = makeNifti({
    type: "int16",
    size: [side, side, slices],
    data: new Int16Array(0),
    pixdim: [1, 1, 1, 1, 0, 0, 0, 0],
    units: 2,
  });
  const file = openSync(volume, "w");
  writeSync(file, head);
  const slice = new Int16Array(side * side);
  for (let z = 0; z < slices; z++) {
    for (let i = 0; i < slice.length; i++) {
      const [x, y] = [i % side, Math.floor(i / side)];
      // Nested shells with some noise: every class, everywhere.
      const r = Math.hypot(x - side / 2, y - side / 2, (z - slices / 2) * 0.8) / (side / 2);
      slice[i] = 1000 * Math.sin(r * 9) + ((Math.imul(i + z * 7919, 2654435761) >>> 24) & 63) - 32;
    }
    writeSync(file, new Uint8Array(slice.buffer));
  }
  closeSync(file);
  const bytes = side * side * slices * 2;
  const model = writeVolumePackage(join(directory, "volume"), {
    window: [window, window, window],
    low: -1000,
    high: 1000,
  });
  const out = join(directory, "out");
  await tilewright("segment", volume, "--model", model, "--out", out, "--outputs", "labels.ome.zarr");
  const run: RunManifest = JSON.parse(readFileSync(join(out, "run.json"), "utf8"));
  const mb = (n: number) => `${(n / 1e6).toFixed(0)} MB`;
  console.log(
    `Tilewright  ${run.plan.windows} windows  ${run.seconds.total!.toFixed(1)} s  peak ${mb(run.peakMemoryBytes!)} = ${(run.peakMemoryBytes! / bytes).toFixed(2)} of the volume (goal 2.5)  ${JSON.stringify(run.seconds)}`,
  );
  if (values.python) {
    const peer = await runJson(values.python, [
      fileURLToPath(new URL("peers/monai_volume.py", import.meta.url)),
      volume,
      model,
      "2",
    ]);
    console.log(
      `MONAI       ${peer.windows} windows  ${peer.total.toFixed(1)} s  peak ${mb(peer.peakBytes)} = ${(peer.peakBytes / bytes).toFixed(2)} of the volume`,
    );
    console.log(`MONAI takes ${(peer.total / run.seconds.total!).toFixed(2)} times as long (goal 2)`);
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}

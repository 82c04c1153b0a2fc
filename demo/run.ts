import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { progressPrinter } from "../src/cli/terminal/progress.ts";
import { segment } from "../src/index.ts";
import { paintNuclei } from "./paint-nuclei.ts";
import { writeTiledTiff } from "./tiled-tiff.ts";

/** Paints a slide, segments it with the bundled model, and prints where the results are. */
const OUT = process.argv[2] ?? "demo-out";
const [WIDTH, HEIGHT, MPP, TILE] = [1600, 1200, 0.25, 256];

mkdirSync(OUT, { recursive: true });
const slide = join(OUT, "slide.tiff");
const field = paintNuclei(WIDTH, HEIGHT, MPP);
writeTiledTiff(slide, {
  levels: [
    { width: WIDTH, height: HEIGHT },
    { width: WIDTH / 4, height: HEIGHT / 4 },
  ],
  tileSize: TILE,
  mpp: MPP,
  tile: (level, column, row) => cut(level === 0 ? 1 : 4, column, row),
});
console.log(`painted ${field.nuclei} nuclei on ${WIDTH}×${HEIGHT} pixels: ${slide}`);

const out = join(OUT, "result");
const manifest = await segment({
  source: slide,
  model: "nuclei",
  out,
  force: true,
  onProgress: progressPrinter(false),
});
const nuclei = "objects" in manifest.summary ? manifest.summary.objects[0]!.count : 0;
console.log(
  `found ${nuclei} nuclei in ${manifest.seconds.total!.toFixed(1)} s (${manifest.plan.windows} windows)\n`,
);
for (const { name } of manifest.outputs) console.log(join(out, name));
console.log(join(out, "run.json"));
console.log(
  "\nThe slide imitates fluorescence. Use the model for fluorescence, and for counts on H&E and IHC that a person checks.\n" +
    "Do not use it for other stains or for a diagnosis: docs/models/nuclei.md",
);

function cut(step: number, column: number, row: number): Uint8Array {
  const samples = new Uint8Array(TILE * TILE * 3);
  for (let y = 0; y < TILE; y++) {
    for (let x = 0; x < TILE; x++) {
      const from = [(row * TILE + y) * step, (column * TILE + x) * step] as const;
      if (from[0] >= HEIGHT || from[1] >= WIDTH) continue;
      const at = (from[0] * WIDTH + from[1]) * 3;
      samples.set(field.rgb.subarray(at, at + 3), (y * TILE + x) * 3);
    }
  }
  return samples;
}

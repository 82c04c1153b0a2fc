import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { deflateSync } from "fflate";
import { deflateLabels } from "../src/codecs/label-deflate.ts";

/**
 * Time and size of the label DEFLATE compared with fflate at level 5, on the chunks of existing label maps.
 *   node bench/deflate.ts <labels.ome.zarr>...
 */
for (const path of process.argv.slice(2)) {
  const { chunk_grid: grid } = JSON.parse(readFileSync(join(path, "0/zarr.json"), "utf8"));
  const width: number = grid.configuration.chunk_shape.at(-1);
  const files = readdirSync(join(path, "0/c"), { recursive: true, withFileTypes: true }).filter((f) =>
    f.isFile(),
  );
  const tiles = files.map(
    (file) => new Uint8Array(gunzipSync(readFileSync(join(file.parentPath, file.name)))),
  );
  const measure = (deflate: (tile: Uint8Array) => Uint8Array) => {
    let best = Number.POSITIVE_INFINITY;
    let bytes = 0;
    for (let round = 0; round < 3; round++) {
      const started = performance.now();
      bytes = tiles.reduce((sum, tile) => sum + deflate(tile).length, 0);
      best = Math.min(best, performance.now() - started);
    }
    return { ms: best / tiles.length, bytes };
  };
  const theirs = measure((tile) => deflateSync(tile, { level: 5 }));
  const ours = measure((tile) => deflateLabels(tile, 1, width));
  console.log(
    `${path}: ${tiles.length} chunks; fflate ${theirs.ms.toFixed(2)} ms a chunk, ${theirs.bytes} bytes; ours ${ours.ms.toFixed(2)} ms, ${ours.bytes} bytes: ${(theirs.ms / ours.ms).toFixed(1)} times as fast, ${(ours.bytes / theirs.bytes).toFixed(2)} of the size`,
  );
}

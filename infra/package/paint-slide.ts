import { paintNuclei } from "../../demo/paint-nuclei.ts";
import { writeTiledTiff } from "../../demo/tiled-tiff.ts";

/** Paints a small slide: `node paint-slide.ts slide.tiff`. */
const [WIDTH, HEIGHT, MPP, TILE] = [480, 360, 0.25, 128];
const field = paintNuclei(WIDTH, HEIGHT, MPP);
writeTiledTiff(process.argv[2]!, {
  levels: [{ width: WIDTH, height: HEIGHT }],
  tileSize: TILE,
  mpp: MPP,
  tile(_, column, row) {
    const samples = new Uint8Array(TILE * TILE * 3);
    for (let y = 0; y < TILE; y++) {
      const from = ((row * TILE + y) * WIDTH + column * TILE) * 3;
      const columns = Math.min(TILE, WIDTH - column * TILE);
      if (row * TILE + y < HEIGHT) samples.set(field.rgb.subarray(from, from + columns * 3), y * TILE * 3);
    }
    return samples;
  },
});

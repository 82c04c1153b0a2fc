import { writeTiledTiff } from "../../demo/tiled-tiff.ts";

export interface MadeSlide {
  path: string;
  width: number;
  height: number;
  mpp: number;
  /** Grey value of each level-0 pixel; all three channels are equal. */
  grey: Uint8Array;
}

/**
 * A small pyramidal TIFF with discs on a dark ground: bright inside, a rim around, so that the pointwise package
 * sees every class. Seeded by its size only.
 */
export function writeMadeSlide(
  path: string,
  options: {
    width?: number;
    height?: number;
    mpp?: number;
    tileSize?: number;
    empty?: (x: number, y: number) => boolean;
  } = {},
): MadeSlide {
  const { width = 700, height = 500, mpp = 0.5, tileSize = 128, empty } = options;
  const grey = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (empty?.(x, y)) continue;
      const [cx, cy] = [Math.floor(x / 40) * 40 + 20, Math.floor(y / 40) * 40 + 20];
      const r = Math.hypot(x - cx - ((cy * 7) % 9), y - cy + ((cx * 5) % 7));
      const radius = 9 + ((cx * 13 + cy * 29) % 9);
      grey[y * width + x] = r < radius - 2 ? 230 : r < radius ? 115 : 8 + ((x * 31 + y * 17) % 7);
    }
  }
  const half = { width: Math.ceil(width / 2), height: Math.ceil(height / 2) };
  writeTiledTiff(path, {
    levels: [{ width, height }, half],
    tileSize,
    mpp,
    tile: (level, column, row) => {
      const step = level === 0 ? 1 : 2;
      const samples = new Uint8Array(tileSize * tileSize * 3);
      for (let v = 0; v < tileSize; v++) {
        for (let u = 0; u < tileSize; u++) {
          const [y, x] = [(row * tileSize + v) * step, (column * tileSize + u) * step];
          if (y >= height || x >= width) continue;
          const at = (v * tileSize + u) * 3;
          samples.fill(grey[y * width + x]!, at, at + 3);
        }
      }
      return samples;
    },
  });
  return { path, width, height, mpp, grey };
}

import type { LabelStage, LabelTile } from "../../image/label-sink.ts";

/** One row of chunks along z of a label volume; a tile is absent where all is background. */
export interface TileSlab {
  slab: number;
  tiles: readonly { index: readonly number[]; tile: LabelTile | undefined }[];
}

/** Reads a label volume's rows of chunks in the order of z, chunks in raster order. */
export async function* tileSlabs(stage: LabelStage, signal?: AbortSignal): AsyncGenerator<TileSlab> {
  const { shape, chunk } = stage.info;
  const [slabs, rows, columns] = shape.map((n, a) => Math.ceil(n / chunk[a]!)) as [number, number, number];
  for (let slab = 0; slab < slabs; slab++) {
    signal?.throwIfAborted();
    const indices = Array.from({ length: rows * columns }, (_, n) => [
      slab,
      Math.floor(n / columns),
      n % columns,
    ]);
    const tiles = await Promise.all(
      indices.map(async (index) => ({ index, tile: await stage.readTile(index, { signal }) })),
    );
    yield { slab, tiles };
  }
}

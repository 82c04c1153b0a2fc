import type { LabelStore, LabelTile } from "../../image/label-sink.ts";

/** One row of chunks along z of a label volume; a tile is absent where all is background. */
export interface TileSliceBlock {
  slab: number;
  tiles: readonly { index: readonly number[]; tile: LabelTile | undefined }[];
}

/**
 * Reads a label volume's rows of chunks in the order of z, chunks in raster order. The next row is fetched while one is
 * looked at.
 */
export async function* readSliceBlocks(
  labelStore: LabelStore,
  signal?: AbortSignal,
): AsyncGenerator<TileSliceBlock> {
  const { shape, chunk } = labelStore.info;
  const [slabs, rows, columns] = shape.map((n, a) => Math.ceil(n / chunk[a]!)) as [number, number, number];
  const read = async (slab: number) => {
    const tiles = await Promise.all(
      Array.from({ length: rows * columns }, async (_, n) => {
        const index = [slab, Math.floor(n / columns), n % columns];
        return { index, tile: await labelStore.readTile(index, { signal }) };
      }),
    );
    return { slab, tiles };
  };
  let next: Promise<TileSliceBlock> | undefined;
  for (let slab = 0; slab < slabs; slab++) {
    signal?.throwIfAborted();
    const current = await (next ?? read(slab));
    if (slab + 1 < slabs) {
      next = read(slab + 1);
      // Asked for when its turn comes; until then, or if it never comes, nobody needs to hear of a failure.
      next.catch(() => undefined);
    }
    yield current;
  }
}

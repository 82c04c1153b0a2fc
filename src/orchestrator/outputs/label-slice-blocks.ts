import type { LabelStore, LabelTile } from "../../image/label-sink.ts";

/** The chunks of a label volume with the same index along z; a tile is undefined if it is all background. */
export interface TileSliceBlock {
  slab: number;
  tiles: readonly { index: readonly number[]; tile: LabelTile | undefined }[];
}

/**
 * Reads the blocks of slices of a label volume in the order of z, chunks in raster order. The next block is read ahead.
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
      // The error is thrown when the block is awaited; until then it is handled here.
      next.catch(() => undefined);
    }
    yield current;
  }
}

/**
 * Chunk of the label map along the last two axes. Labels compress to a few per cent, so a wide chunk is still a small
 * object, and there are a quarter as many. The height determines the memory of open chunks.
 */
const CHUNK_SHAPE = [512, 2048];
/** TIFF requires tile sides to be multiples of 16. */
const TILE_UNIT = 16;

/** Chunk shape of a label map; never much larger than the map. */
export function chooseChunkShape(size: readonly number[]): number[] {
  const plane = size.slice(-2).map((n, a) => Math.min(CHUNK_SHAPE[a]!, Math.ceil(n / TILE_UNIT) * TILE_UNIT));
  return [...size.slice(2).map(() => 1), ...plane];
}

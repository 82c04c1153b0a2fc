/** Width of the tiles of a 2-D label map for formats that need smaller tiles than its chunks. */
const FRAME_WIDTH = 512;

/** Size `[y, x]` of the frames of a DICOM segmentation of a 2-D label map: a chunk, or a part of its width. */
export function segmentationFrameSize([height, width]: readonly number[]): [number, number] {
  return [height!, width! % FRAME_WIDTH === 0 ? FRAME_WIDTH : width!];
}

/** Tiles of a chunk from left to right, without those beyond the map. */
export function* tilesOfChunk(
  [row, column]: readonly number[],
  chunk: readonly number[],
  shape: readonly number[],
): Generator<{ index: number; x: number }> {
  const [, tileWidth] = segmentationFrameSize(chunk);
  const across = Math.ceil(shape[1]! / tileWidth);
  const first = (column! * chunk[1]!) / tileWidth;
  for (let x = 0; x < chunk[1]!; x += tileWidth) {
    const at = first + x / tileWidth;
    if (at < across) yield { index: row! * across + at, x };
  }
}

/** Classes without background in a tile of a chunk, ascending. */
export function classesInTile(data: Uint8Array, chunkWidth: number, x: number, tileWidth: number): number[] {
  const present = new Uint8Array(256);
  for (let row = x; row < data.length; row += chunkWidth) {
    for (let i = row; i < row + tileWidth; i++) present[data[i]!] = 1;
  }
  const labels: number[] = [];
  for (let label = 1; label < 256; label++) if (present[label]) labels.push(label);
  return labels;
}

import { writeFileSync } from "node:fs";
import { deflateSync } from "node:zlib";

export interface TiledTiffOptions {
  /** Size of each level, largest first. */
  levels: readonly { width: number; height: number }[];
  tileSize: number;
  /** Micrometres per pixel of level 0. */
  mpp: number;
  /** RGB samples `[tileSize, tileSize, 3]`; return the same array for equal tiles, which are then stored once. */
  tile: (level: number, column: number, row: number) => Uint8Array;
}

/** Writes a plain pyramidal TIFF: RGB, Deflate, one page per level. For demo, bench and tests only. */
export function writeTiledTiff(path: string, options: TiledTiffOptions): void {
  const { levels, tileSize, mpp, tile } = options;
  const parts: Uint8Array[] = [new Uint8Array(8)];
  let end = 8;
  const append = (bytes: Uint8Array): number => {
    const padded = end + (end & 1);
    if (padded !== end) parts.push(new Uint8Array(1));
    parts.push(bytes);
    end = padded + bytes.length;
    return padded;
  };
  const stored = new Map<Uint8Array, { offset: number; byteLength: number }>();
  const pages = levels.map(({ width, height }, level) => {
    const across = Math.ceil(width / tileSize);
    const down = Math.ceil(height / tileSize);
    const offsets = new Uint32Array(across * down);
    const counts = new Uint32Array(across * down);
    for (let row = 0; row < down; row++) {
      for (let column = 0; column < across; column++) {
        const samples = tile(level, column, row);
        let at = stored.get(samples);
        if (!at) {
          const bytes = deflateSync(samples, { level: 1 });
          at = { offset: append(bytes), byteLength: bytes.length };
          stored.set(samples, at);
        }
        offsets[row * across + column] = at.offset;
        counts[row * across + column] = at.byteLength;
      }
    }
    const perCentimetre = Uint32Array.of(Math.round((1e4 / (mpp * (levels[0]!.width / width))) * 1000), 1000);
    const long = (values: Uint32Array) => new Uint8Array(values.buffer);
    return {
      width,
      height,
      resolution: append(long(perCentimetre)),
      bits: append(new Uint8Array(Uint16Array.of(8, 8, 8).buffer)),
      tiles: across * down,
      offsets: across * down === 1 ? offsets[0]! : append(long(offsets)),
      counts: across * down === 1 ? counts[0]! : append(long(counts)),
    };
  });
  const [SHORT, LONG, RATIONAL] = [3, 4, 5];
  let previous = 4;
  const patches: [number, number][] = [];
  pages.forEach((page, level) => {
    const entries: [tag: number, type: number, count: number, value: number][] = [
      [254, LONG, 1, level === 0 ? 0 : 1],
      [256, LONG, 1, page.width],
      [257, LONG, 1, page.height],
      [258, SHORT, 3, page.bits],
      [259, SHORT, 1, 8],
      [262, SHORT, 1, 2],
      [277, SHORT, 1, 3],
      [282, RATIONAL, 1, page.resolution],
      [283, RATIONAL, 1, page.resolution],
      [284, SHORT, 1, 1],
      [296, SHORT, 1, 3],
      [322, LONG, 1, tileSize],
      [323, LONG, 1, tileSize],
      [324, LONG, page.tiles, page.offsets],
      [325, LONG, page.tiles, page.counts],
    ];
    const bytes = new Uint8Array(2 + entries.length * 12 + 4);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, entries.length, true);
    entries.forEach(([tag, type, count, value], i) => {
      view.setUint16(2 + i * 12, tag, true);
      view.setUint16(4 + i * 12, type, true);
      view.setUint32(6 + i * 12, count, true);
      view.setUint32(10 + i * 12, value, true);
    });
    const at = append(bytes);
    patches.push([previous, at]);
    previous = at + bytes.length - 4;
  });
  const file = new Uint8Array(end);
  let at = 0;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  const view = new DataView(file.buffer);
  view.setUint16(0, 0x4949, false);
  view.setUint16(2, 42, true);
  for (const [where, value] of patches) view.setUint32(where, value, true);
  writeFileSync(path, file);
}

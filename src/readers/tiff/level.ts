import { ImageFormatError } from "../../image/errors.ts";
import type { ByteRange } from "../../storage/byte-source.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import type { TileGrid } from "../base/tiled-image.ts";
import {
  checkTileHead,
  type DecodeTables,
  decodeTile,
  emptyTile,
  Interleaver,
  type TileExtent,
  toChannels,
} from "./decode-tile.ts";
import { isImageCoded, type TiffPage } from "./page.ts";
import { TAG } from "./tags.ts";
import { type TileAddress, type TileLayout, tileLayout } from "./tile-layout.ts";

/** Covers every marker before the scan, including an embedded colour profile. */
const PROBE_BYTES = 64 * 1024;

/** Tiles probed for one that is stored; a slide whose first rows are all bare glass is then not probed. */
const PROBE_TILES = 1024;

export interface LevelOptions {
  /** Value of omitted tiles: 0, or 255 where absent means unscanned glass. */
  fill?: number;
}

/** A page with what its tiles need, read with the first of them. */
interface LoadedPage {
  page: TiffPage;
  layout: TileLayout;
  tables: DecodeTables;
}

/** The stored bytes of a tile in one page: one part, or one per plane; `undefined` if omitted. */
interface StoredTile {
  loaded: LoadedPage;
  parts: (Uint8Array | undefined)[];
}

/**
 * A level whose channels lie in one page, or are spread over pages of equal layout (OME-TIFF), or over z too.
 * @param pages `[z][c]` pages; one z for 2-D
 * @param layout of the first page
 * @param axes "yx": positions are `[row, column]`; "zyx": `[z, row, column]`, one set of pages per z
 */
export function tiffLevel(
  pages: readonly (readonly TiffPage[])[],
  layout: TileLayout,
  axes: "yx" | "zyx",
  { fill = 0 }: LevelOptions = {},
): TileGrid {
  const first = pages[0]![0]!;
  const { source } = first.file;
  const loadedPages = new Map<TiffPage, LoadedPage>();
  const toGridPosition = (position: readonly number[]) => {
    const [z, row, column] = position.length === 3 ? position : [0, ...position];
    return { z: z!, row: row!, column: column! };
  };

  async function load(page: TiffPage, signal?: AbortSignal): Promise<LoadedPage> {
    const known = loadedPages.get(page);
    if (known) return known;
    const own = page === first ? layout : tileLayout(page);
    if (own.tileHeight !== layout.tileHeight || own.tileWidth !== layout.tileWidth) {
      throw new ImageFormatError(`${source.key}: its channels are cut into tiles of different sizes`);
    }
    const jpegTables = await page.directory.bytes(TAG.jpegTables, signal);
    const loaded = { page, layout: own, tables: { jpegTables } };
    loadedPages.set(page, loaded);
    return loaded;
  }

  /** Reads the stored bytes of all requested tiles, `[position][page]`, in few requests. */
  async function readStored(
    positions: readonly (readonly number[])[],
    signal?: AbortSignal,
  ): Promise<StoredTile[][]> {
    const wanted = new Map<LoadedPage, { addresses: TileAddress[]; put: ((b: Uint8Array) => void)[] }>();
    const tiles: StoredTile[][] = [];
    for (const position of positions) {
      const { z, row, column } = toGridPosition(position);
      const perPage: StoredTile[] = [];
      for (const page of pages[z]!) {
        const loaded = await load(page, signal);
        const list = wanted.get(loaded) ?? { addresses: [], put: [] };
        wanted.set(loaded, list);
        const parts = new Array<Uint8Array | undefined>(page.planar === 2 ? page.channels : 1).fill(
          undefined,
        );
        for (let plane = 0; plane < parts.length; plane++) {
          list.addresses.push({ row, column, plane });
          list.put.push((bytes) => {
            parts[plane] = bytes;
          });
        }
        perPage.push({ loaded, parts });
      }
      tiles.push(perPage);
    }
    const ranges: ByteRange[] = [];
    const put: ((bytes: Uint8Array) => void)[] = [];
    for (const [loaded, list] of wanted) {
      for (const [i, range] of (await loaded.layout.ranges(list.addresses, signal)).entries()) {
        if (range === undefined) continue;
        ranges.push(range);
        put.push(list.put[i]!);
      }
    }
    const bytes = await source.readRanges(ranges, signal);
    bytes.forEach((part, i) => {
      put[i]!(part);
    });
    return tiles;
  }

  async function decodeStored({ loaded, parts }: StoredTile, extent: TileExtent): Promise<Raster> {
    const { page, tables } = loaded;
    const empty = page.noData ?? fill;
    if (parts.length === 1) {
      const [part] = parts;
      if (part === undefined) return emptyTile(page, extent, empty);
      return toChannels(await decodeTile(part, page, extent, tables), page);
    }
    const planes = new Interleaver(page.channels);
    const one = { ...page, channels: 1 };
    for (const part of parts) {
      planes.add(
        part === undefined
          ? emptyTile(one, extent, empty)
          : toChannels(await decodeTile(part, page, extent, tables), one),
      );
    }
    return planes.tile;
  }

  const plane = [first.height, first.width];
  const tile = [layout.tileHeight, layout.tileWidth];
  return {
    shape: axes === "zyx" ? [pages.length, ...plane] : plane,
    tileShape: axes === "zyx" ? [1, ...tile] : tile,
    readTiles(positions, signal) {
      const stored = readStored(positions, signal);
      return positions.map(async (position, p): Promise<Raster> => {
        const perPage = (await stored)[p]!;
        const rowsLeft = first.height - toGridPosition(position).row * layout.tileHeight;
        const extent = {
          width: layout.tileWidth,
          height: first.tiled ? layout.tileHeight : Math.min(layout.tileHeight, rowsLeft),
        };
        const channels = new Interleaver(perPage.reduce((sum, { loaded }) => sum + loaded.page.channels, 0));
        for (const part of perPage) channels.add(await named(source.key, () => decodeStored(part, extent)));
        const { data, shape } = channels.tile;
        return axes === "zyx" ? { data, shape: [1, ...shape] } : { data, shape };
      });
    },
  };
}

/**
 * Decodes the head of the first stored tile, so that a file whose tiles no decoder can read is rejected when it is
 * opened and not an hour later.
 */
export async function probeFirstTile(
  page: TiffPage,
  layout: TileLayout,
  signal?: AbortSignal,
): Promise<void> {
  if (!isImageCoded(page.compression)) return;
  const count = Math.min(layout.tilesDown * layout.tilesAcross, PROBE_TILES);
  const tiles = Array.from({ length: count }, (_, i) => ({
    row: Math.floor(i / layout.tilesAcross),
    column: i % layout.tilesAcross,
    plane: 0,
  }));
  const range = (await layout.ranges(tiles, signal)).find((r) => r !== undefined);
  if (range === undefined) return;
  const { source } = page.file;
  const head = await source.read(range.offset, Math.min(range.length, PROBE_BYTES), signal);
  await named(source.key, async () => checkTileHead(head, page.compression));
}

/** Adds the file's name to a decoder's error. */
async function named<T>(key: string, decode: () => Promise<T>): Promise<T> {
  try {
    return await decode();
  } catch (cause) {
    if (!(cause instanceof ImageFormatError) || cause.message.startsWith(key)) throw cause;
    throw new ImageFormatError(`${key}: ${cause.message}; copy the file again or export it again`, { cause });
  }
}

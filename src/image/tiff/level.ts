import type { Raster, SampleArray } from "../../tiling/raster.ts";
import { allocate } from "../../tiling/raster.ts";
import type { ByteRange } from "../byte-source.ts";
import { ImageFormatError } from "../errors.ts";
import type { TileGrid } from "../tiled-image.ts";
import { checkTileHead, type DecodeTables, decodeTile, interleave, toChannels } from "./decode-tile.ts";
import { isImageCoded, type TiffPage } from "./page.ts";
import { PHOTOMETRIC, TAG } from "./tags.ts";
import { readTileLayout, type TileLayout } from "./tile-layout.ts";

/** Enough for every marker before the scan, an embedded colour profile included. */
const PROBE_BYTES = 64 * 1024;

interface LoadedPage {
  page: TiffPage;
  layout: TileLayout;
  tables: DecodeTables;
}

/** Value of tiles the file leaves out: 0, or 255 where absent means unscanned glass. */
export interface LevelOptions {
  fill?: number;
}

/**
 * A level whose channels lie in one page, or spread over pages of equal layout (OME-TIFF), or over z too.
 * @param pages `[z][c]` pages; one z for 2-D
 * @param axes "yx": positions are `[row, column]`; "zyx": `[z, row, column]`, one page set per z
 */
export function tiffLevel(
  pages: readonly (readonly TiffPage[])[],
  layout: TileLayout,
  axes: "yx" | "zyx",
  options: LevelOptions = {},
): TileGrid {
  const first = pages[0]![0]!;
  const source = first.file.source;
  const loaded = new Map<TiffPage, LoadedPage>();
  const plane = [first.height, first.width];
  const tile = [layout.tileHeight, layout.tileWidth];

  /** Offset tables are read with the first tile of a page: opening a slide does not pay for all levels. */
  async function load(page: TiffPage, signal?: AbortSignal): Promise<LoadedPage> {
    const known = loaded.get(page);
    if (known) return known;
    const own = page === first ? layout : await readTileLayout(page, signal);
    if (own.tileHeight !== layout.tileHeight || own.tileWidth !== layout.tileWidth) {
      throw new ImageFormatError(`${source.key}: its channels are cut into tiles of different sizes`);
    }
    const tables = {
      jpegTables: await page.directory.bytes(TAG.jpegTables, signal),
      colorMap:
        page.photometric === PHOTOMETRIC.palette
          ? await page.directory.numbers(TAG.colorMap, signal)
          : undefined,
    };
    const entry = { page, layout: own, tables };
    loaded.set(page, entry);
    return entry;
  }

  async function readTogether(positions: readonly (readonly number[])[], signal?: AbortSignal) {
    const requests: { position: number; channelPage: number; plane: number; range: ByteRange | undefined }[] =
      [];
    const pageOf = new Map<string, LoadedPage>();
    for (const [p, position] of positions.entries()) {
      const [z, row, column] = position.length === 3 ? position : [0, ...position];
      for (const [c, page] of pages[z!]!.entries()) {
        const entry = await load(page, signal);
        pageOf.set(`${p},${c}`, entry);
        const planes = page.planar === 2 ? page.channels : 1;
        for (let i = 0; i < planes; i++) {
          requests.push({
            position: p,
            channelPage: c,
            plane: i,
            range: entry.layout.range(row!, column!, i),
          });
        }
      }
    }
    const present = requests.filter((r) => r.range !== undefined);
    const bytes = await source.readRanges(
      present.map((r) => r.range!),
      signal,
    );
    const parts = new Map(present.map((r, i) => [`${r.position},${r.channelPage},${r.plane}`, bytes[i]!]));
    return { pageOf, parts };
  }

  return {
    shape: axes === "zyx" ? [pages.length, ...plane] : plane,
    tileShape: axes === "zyx" ? [1, ...tile] : tile,
    readTiles(positions, signal) {
      const together = readTogether(positions, signal);
      return positions.map(async (position, p): Promise<Raster> => {
        const { pageOf, parts } = await together;
        const [z, row] = position.length === 3 ? position : [0, ...position];
        const perPage: Raster[] = [];
        for (const [c] of pages[z!]!.entries()) {
          const { page, tables } = pageOf.get(`${p},${c}`)!;
          const height = page.tiled
            ? layout.tileHeight
            : Math.min(layout.tileHeight, page.height - row! * layout.tileHeight);
          const extent = { width: layout.tileWidth, height };
          const planes = page.planar === 2 ? page.channels : 1;
          const decoded: Raster[] = [];
          for (let i = 0; i < planes; i++) {
            const part = parts.get(`${p},${c},${i}`);
            decoded.push(
              part === undefined
                ? emptyTile(page, extent, planes === 1 ? page.samplesPerPixel : 1, options.fill ?? 0)
                : await inFile(source.key, () => decodeTile(part, page, extent, tables)),
            );
          }
          perPage.push(page.planar === 2 ? interleave(decoded) : toChannels(decoded[0]!, page, tables));
        }
        const joined = perPage.length === 1 ? perPage[0]! : interleave(perPage);
        return axes === "zyx" ? { data: joined.data, shape: [1, ...joined.shape] } : joined;
      });
    },
  };
}

/**
 * Looks at the head of the first tile that is there, so that a file whose tiles no decoder will read is refused
 * when it is opened and not an hour later.
 */
export async function probeFirstTile(
  page: TiffPage,
  layout: TileLayout,
  signal?: AbortSignal,
): Promise<void> {
  if (!isImageCoded(page.compression)) return;
  for (let row = 0; row < Math.min(layout.tilesDown, 64); row++) {
    for (let column = 0; column < Math.min(layout.tilesAcross, 64); column++) {
      const range = layout.range(row, column, 0);
      if (range === undefined) continue;
      const head = await page.file.source.read(range.offset, Math.min(range.length, PROBE_BYTES), signal);
      await inFile(page.file.source.key, async () => checkTileHead(head, page.compression));
      return;
    }
  }
}

function emptyTile(
  page: TiffPage,
  { width, height }: { width: number; height: number },
  samples: number,
  fill: number,
): Raster {
  const data: SampleArray = allocate(page.dtype, width * height * samples);
  if (fill !== 0) data.fill(fill);
  return { data, shape: [height, width, samples] };
}

/** Puts the file's name before a decoder's complaint. */
async function inFile<T>(key: string, decode: () => Promise<T>): Promise<T> {
  try {
    return await decode();
  } catch (cause) {
    if (!(cause instanceof ImageFormatError) || cause.message.startsWith(key)) throw cause;
    throw new ImageFormatError(`${key}: ${cause.message}; copy the file again or export it anew`, { cause });
  }
}

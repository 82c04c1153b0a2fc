import { type ImageSource, RGB_CHANNELS, type Spacing } from "../../image/image-source.ts";
import { type ImageLimits, MAX_SIDE } from "../../image/limits.ts";
import { plausibleSpacing } from "../../image/spacing.ts";
import { ByteSource } from "../../storage/byte-source.ts";
import type { ObjectInfo, ObjectStore } from "../../storage/object-store.ts";
import { allocate, type Raster } from "../../tiling/grid/raster.ts";
import { TiledImage, type TileGrid } from "../base/tiled-image.ts";
import type { DataSet } from "./data-set.ts";
import { decodeFrame } from "./decode-frame.ts";
import { UnsupportedDicomError } from "./errors.ts";
import { type FrameIndex, indexFrames, readFrames } from "./frames.ts";
import { type Instance, openInstance } from "./open-instance.ts";
import { decodedBytes, formatDtype, type PixelFormat, readPixelFormat } from "./pixel-format.ts";
import { invertGrey } from "./rescale.ts";
import type { OpenedSeries } from "./series.ts";
import { addFileName, frameCount, MAX_FRAMES, readModality } from "./slices.ts";
import type { TransferSyntax } from "./transfer-syntax.ts";

const WHOLE_SLIDE_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6";

/** Limit of the tiles of a grid, stored or not. */
const MAX_GRID_TILES = 2 ** 26;

/** Third value of ImageType (PS3.3 section C.8.12.4.1.1): pictures beside the levels. */
const NON_LEVEL_IMAGE_TYPES: ReadonlySet<string> = new Set(["LABEL", "OVERVIEW", "THUMBNAIL"]);

/** One file of a slide: a level, or a picture beside the levels. */
export interface SlideFile {
  key: string;
  info: ObjectInfo;
  /** Groups the files of a slide. A UID: for comparing, never for messages. */
  series: string;
  sopInstance: string;
  source: ByteSource;
  syntax: TransferSyntax;
  format: PixelFormat;
  frames: FrameIndex;
  headBytes: number;
  modality: string;
  /** Samples of the level, `[y, x]`. */
  shape: [number, number];
  /** Frame by tile, in raster order. Undefined when all tiles are stored in order. */
  frameOfTile: TileFrames | undefined;
  spacing: Spacing | undefined;
  objectivePower: number | undefined;
}

/** Positions of the frames of a slide, from their functional groups: column, row and height above the glass. */
export class FramePositions {
  #count = 0;
  #places = new Int32Array(2 * 64);
  heights = new Set<number>();

  get count(): number {
    return this.#count;
  }

  restart(): void {
    this.#count = 0;
    this.heights.clear();
  }

  add(item: DataSet): void {
    if (this.#count === MAX_FRAMES)
      throw new UnsupportedDicomError(`it states the positions of more than ${MAX_FRAMES} tiles`);
    const place = item.group("planePositionSlide");
    if (2 * this.#count === this.#places.length) {
      const more = new Int32Array(2 * this.#places.length);
      more.set(this.#places);
      this.#places = more;
    }
    this.#places[2 * this.#count] = place.number("columnPosition") ?? 0;
    this.#places[2 * this.#count + 1] = place.number("rowPosition") ?? 0;
    this.#count++;
    const height = place.number("zOffset");
    // Two are already too many.
    if (height !== undefined && this.heights.size < 2) this.heights.add(height);
  }

  /** 1-based column of the frame's first pixel; 0 if not stated. */
  column(frame: number): number {
    return this.#places[2 * frame]!;
  }

  row(frame: number): number {
    return this.#places[2 * frame + 1]!;
  }
}

export function isSlide({ dataSet }: Instance): boolean {
  return dataSet.text("sopClass") === WHOLE_SLIDE_SOP_CLASS;
}

/** Label, macro and thumbnail pictures are not levels. */
export function isSlideLevel({ dataSet }: Instance): boolean {
  return !NON_LEVEL_IMAGE_TYPES.has(dataSet.texts("imageType")[2] ?? "");
}

/**
 * Checks one level and finds its frames.
 * @throws {UnsupportedDicomError} when it is of a kind that is not read
 */
export async function openSlideFile(
  instance: Instance,
  places: FramePositions,
  info: ObjectInfo,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<SlideFile> {
  const { key, dataSet, syntax, pixels, source } = instance;
  if (syntax.refusal !== undefined) throw new UnsupportedDicomError(syntax.refusal);
  if (pixels === undefined) throw new UnsupportedDicomError("it holds no image");
  if (dataSet.text("concatenation") !== undefined)
    throw new UnsupportedDicomError(
      "it is one part of a level that is stored in several files, which is not supported",
    );
  const paths = dataSet.number("numberOfOpticalPaths") ?? Math.max(1, dataSet.items("opticalPaths").length);
  if (paths > 1)
    throw new UnsupportedDicomError(
      `it has ${paths} optical paths, and only one is supported; export one of them`,
    );
  const planes = Math.max(dataSet.number("numberOfFocalPlanes") ?? 1, places.heights.size);
  if (planes > 1)
    throw new UnsupportedDicomError(
      `it has ${planes} focal planes, and only one is supported; export one of them`,
    );
  const format = readPixelFormat(dataSet, syntax.coding);
  if (format.palette)
    throw new UnsupportedDicomError(
      "its colours come from a palette, which is not supported of slides; convert it to RGB",
    );
  if (decodedBytes(format) > limits.tileBytes) {
    throw new UnsupportedDicomError(
      `its tiles of ${format.columns} × ${format.rows} pixels are over the limit of ${limits.tileBytes} bytes`,
    );
  }
  const height = dataSet.number("matrixRows") ?? 0;
  const width = dataSet.number("matrixColumns") ?? 0;
  if (!(height >= 1 && width >= 1 && height <= MAX_SIDE && width <= MAX_SIDE))
    throw new UnsupportedDicomError(`its header states a slide of ${width} × ${height} pixels`);
  const across = Math.ceil(width / format.columns);
  const down = Math.ceil(height / format.rows);
  const count = frameCount(dataSet);
  const sparse =
    dataSet.text("dimensionOrganization") === "TILED_SPARSE" ||
    (dataSet.text("dimensionOrganization") === undefined && places.count > 0);
  if (!sparse && count !== across * down) {
    throw new UnsupportedDicomError(
      `it has ${count} tiles where a slide of ${width} × ${height} pixels needs ${across * down}`,
    );
  }
  if (sparse && places.count !== count)
    throw new UnsupportedDicomError(`it states the positions of ${places.count} tiles, and has ${count}`);
  return {
    key,
    info,
    series: dataSet.text("series") ?? "",
    sopInstance: dataSet.text("sopInstance") ?? "",
    source,
    syntax,
    format,
    frames: await indexFrames(instance, format, count, signal),
    headBytes: pixels.tagOffset,
    modality: readModality(dataSet),
    shape: [height, width],
    frameOfTile: sparse ? placeTiles(places, format, across, down) : undefined,
    spacing: readSpacing(dataSet, height, width),
    objectivePower: positive(dataSet.group("opticalPaths").number("objectivePower")),
  };
}

/** Frame of a tile, in memory proportional to the stored frames: the grid may be far larger. */
interface TileFrames {
  /** Stored tiles, ascending. */
  tiles: Float64Array;
  frames: Int32Array;
}

/** @returns -1 for a tile that is not stored */
function frameAt({ tiles, frames }: TileFrames, tile: number): number {
  let from = 0;
  let to = tiles.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (tiles[middle]! < tile) from = middle + 1;
    else to = middle;
  }
  return tiles[from] === tile ? frames[from]! : -1;
}

function placeTiles(
  places: FramePositions,
  { rows, columns }: PixelFormat,
  across: number,
  down: number,
): TileFrames {
  if (across * down > MAX_GRID_TILES)
    throw new UnsupportedDicomError(`its grid of ${across} × ${down} tiles is over the limit`);
  const tileByFrame = new Float64Array(places.count);
  for (let frame = 0; frame < places.count; frame++) {
    const x = (places.column(frame) - 1) / columns;
    const y = (places.row(frame) - 1) / rows;
    if (!(Number.isInteger(x) && Number.isInteger(y) && x >= 0 && y >= 0 && x < across && y < down)) {
      throw new UnsupportedDicomError(
        `its tile ${frame + 1} lies at column ${places.column(frame)}, row ${places.row(frame)}, off the grid of ${columns} × ${rows}`,
      );
    }
    tileByFrame[frame] = y * across + x;
  }
  const frames = Int32Array.from({ length: places.count }, (_, i) => i).sort(
    (a, b) => tileByFrame[a]! - tileByFrame[b]! || a - b,
  );
  const tiles = Float64Array.from(frames, (frame) => tileByFrame[frame]!);
  const twice = tiles.findIndex((tile, i) => i > 0 && tile === tiles[i - 1]);
  if (twice >= 0) {
    const frame = frames[twice]!;
    throw new UnsupportedDicomError(
      `two of its tiles lie at column ${places.column(frame)}, row ${places.row(frame)}`,
    );
  }
  return { tiles, frames };
}

/** From the stated pixel distance, else from the size of the level. */
function readSpacing(dataSet: DataSet, height: number, width: number): Spacing | undefined {
  const [y, x] = dataSet.group("sharedGroups").group("pixelMeasures").numbers("pixelSpacing");
  const stated = y && x && plausibleSpacing(y * 1000, x * 1000);
  if (stated) return stated;
  const spanX = positive(dataSet.number("imagedWidth"));
  const spanY = positive(dataSet.number("imagedHeight"));
  return spanX && spanY ? plausibleSpacing((spanY * 1000) / height, (spanX * 1000) / width) : undefined;
}

const positive = (value: number | undefined) => (value !== undefined && value > 0 ? value : undefined);

/**
 * The levels of one slide, "yx". Tiles are read by the ranges of their frames. A tile that is not stored is
 * background: white in colour images, else 0.
 * @throws {UnsupportedDicomError} when the files are not the levels of one slide
 */
export function slideImage(
  store: ObjectStore,
  files: readonly SlideFile[],
  opened: OpenedSeries,
  limits: ImageLimits,
): ImageSource {
  const levels = [...files].sort((a, b) => b.shape[1] - a.shape[1]);
  const first = levels[0]!;
  for (const [i, level] of levels.entries()) {
    const finer = levels[i - 1];
    if (finer && (level.shape[0] >= finer.shape[0] || level.shape[1] >= finer.shape[1])) {
      throw new UnsupportedDicomError(
        `two of its levels have sizes that are not those of one pyramid (${finer.shape[1]} × ${finer.shape[0]} and ${level.shape[1]} × ${level.shape[0]} pixels); give the levels of one slide`,
      );
    }
    const haveSameSamples =
      level.format.samples === first.format.samples &&
      formatDtype(level.format) === formatDtype(first.format) &&
      level.format.photometric.startsWith("MONO") === first.format.photometric.startsWith("MONO");
    if (!haveSameSamples)
      throw new UnsupportedDicomError("its levels differ in their samples; export them again");
  }
  const before = levels.reduce((sum, { source }) => sum + source.bytesRead, 0);
  return new TiledImage(
    {
      format: `DICOM slide (${first.syntax.name})`,
      axes: "yx",
      dtype: formatDtype(first.format),
      channels: first.format.samples === 3 ? RGB_CHANNELS : [{}],
      spacing: first.spacing,
      objectivePower: first.objectivePower,
      bounds: undefined,
      details: {
        ...(first.modality && { modality: first.modality }),
        transferSyntax: first.syntax.name,
        tiles: first.frameOfTile ? "TILED_SPARSE" : "TILED_FULL",
      },
      headers: {
        format: "dicom",
        count: levels.length,
        references: levels.map(({ sopInstance }) => ({ sopClass: WHOLE_SLIDE_SOP_CLASS, sopInstance })),
        read: async (level, options) => {
          const { key, info, headBytes, syntax, source } = levels[level]!;
          const whole = syntax.deflated
            ? (
                await openInstance(
                  new ByteSource(store, key, info),
                  limits,
                  new FramePositions(),
                  options?.signal,
                )
              ).source
            : source;
          return whole.readUpTo(0, headBytes, options?.signal);
        },
      },
      warnings: opened.warnings,
      etag: opened.etag,
      byteLength: files.reduce((sum, { info }) => sum + info.byteLength, 0),
    },
    levels.map((level) => slideGrid(level, limits)),
    limits,
    () => opened.bytesRead - before + levels.reduce((sum, { source }) => sum + source.bytesRead, 0),
  );
}

function slideGrid(level: SlideFile, limits: ImageLimits): TileGrid {
  const { key, source, syntax, format, frames, shape, frameOfTile } = level;
  const across = Math.ceil(shape[1] / format.columns);

  async function decode(bytes: Promise<Uint8Array>): Promise<Raster> {
    try {
      const tile = await decodeFrame(await bytes, format, syntax);
      if (format.photometric === "MONOCHROME1") invertGrey(tile, format);
      return tile;
    } catch (cause) {
      throw addFileName(cause, key);
    }
  }

  return {
    shape,
    tileShape: [format.rows, format.columns],
    readTiles: (positions, signal) => {
      const wanted = positions.map(([y, x]) => {
        const tile = y! * across + x!;
        return frameOfTile ? frameAt(frameOfTile, tile) : tile;
      });
      const stored = wanted.filter((frame) => frame >= 0);
      const bytes = stored.length > 0 ? readFrames(source, frames, stored, limits.tileBytes, signal) : [];
      let next = 0;
      return wanted.map((frame) => (frame < 0 ? background(format) : decode(bytes[next++]!)));
    },
  };
}

async function background(format: PixelFormat): Promise<Raster> {
  const { rows, columns, samples } = format;
  const length = rows * columns * samples;
  const data = allocate(formatDtype(format), length);
  if (samples === 3) data.fill(255);
  return { data, shape: [rows, columns, samples] };
}

import type { ByteSink } from "../../image/byte-sink.ts";
import type { FrameReference } from "../../image/image-source.ts";
import type { LabelMapInfo, LabelSink, LabelTile, WrittenOutput } from "../../image/label-sink.ts";
import type { LabelOrigin, Segmentation } from "../../image/output-targets.ts";
import { joinBytes } from "../../storage/join-bytes.ts";
import { segmentationFrameSize, tilesOfChunk } from "../../tiling/grid/segmentation-frame.ts";
import { SliceSink } from "../base/slice-sink.ts";
import { BitFrames } from "./bit-frames.ts";
import { closeSequence, elementHead, openSequence } from "./elements.ts";
import { frameItem, type SegmentFrame, segmentFrames } from "./frame-list.ts";
import { seriesGeometry, slideGeometry } from "./geometry.ts";
import { segmentationHead } from "./head.ts";
import { sourceAttributes } from "./source-attributes.ts";

const PER_FRAME_GROUPS = 0x52009230;
const PIXEL_DATA = 0x7fe00010;
/** Largest length of 32 bits; the value above it means "undefined". */
const MAX_PIXEL_BYTES = 2 ** 32 - 2;
/** Items of the per-frame groups that are collected before they are appended. */
const ITEMS_AT_ONCE = 256;

/**
 * Writes a label map as a DICOM segmentation that refers to its source series or slide, explicit and little-endian.
 * The frames must be known in advance (`present`), because the head lists them; their samples are written tile by
 * tile. Tiles must come in raster order.
 */
export async function createDicomSegmentation(
  sink: ByteSink,
  info: LabelMapInfo,
  { source, segmentation }: LabelOrigin,
): Promise<LabelSink> {
  try {
    const { headers, affine } = source;
    if (segmentation === undefined || headers?.references === undefined)
      throw new TypeError("labels.seg.dcm needs a DICOM source and the frames it will hold");
    const volume = info.axes === "zyx";
    const references = volume
      ? sourceSlices(info, headers.references)
      : headers.references.slice(segmentation.level, segmentation.level + 1);
    const attributes = await sourceAttributes(await headers.read(volume ? 0 : segmentation.level));
    const geometry = volume ? seriesGeometry(info, affine!) : slideGeometry(info, attributes);
    const frames = [...segmentFrames(segmentation)];
    const [height, width] = volume ? info.shape.slice(1) : segmentationFrameSize(info.chunk);
    const samples = frames.length * height! * width!;
    const pixelBytes = segmentation.type === "binary" ? Math.ceil(samples / 8) : samples;
    if (pixelBytes > MAX_PIXEL_BYTES) {
      throw new RangeError(
        `labels.seg.dcm would hold ${(pixelBytes / 1e9).toFixed(1)} GB of samples, and DICOM ends at 4.3: choose another output or a coarser level`,
      );
    }
    await sink.append(
      await segmentationHead({
        info,
        segmentation,
        geometry,
        attributes,
        references: references.filter(isNamed),
        frames: frames.length,
      }),
    );
    await sink.append(openSequence(PER_FRAME_GROUPS));
    for (let from = 0; from < frames.length; from += ITEMS_AT_ONCE) {
      const items = frames.slice(from, from + ITEMS_AT_ONCE).map((frame) => {
        const reference = references[volume ? frame.place : 0]!;
        return frameItem(frame, info, geometry, isNamed(reference) ? reference : undefined);
      });
      await sink.append(joinBytes(items));
    }
    await sink.append(closeSequence());
    await sink.append(elementHead(PIXEL_DATA, "OB", pixelBytes + (pixelBytes & 1)));
    const writer = new FrameWriter(sink, frames, segmentation.type, height! * width!, pixelBytes & 1);
    return volume
      ? new SliceSink(sink, info, {
          writeSlice: (z, data) => writer.write(z, data),
          finish: () => writer.finish(),
        })
      : new TileSink(sink, info, writer);
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/** Anonymised files may have lost their UIDs: then nothing can refer to them. */
function isNamed({ sopClass, sopInstance }: FrameReference): boolean {
  return sopClass !== "" && sopInstance !== "";
}

/** The source slice of each label slice; the middle one if it spans several. */
function sourceSlices(
  { shape, placement }: LabelMapInfo,
  references: readonly FrameReference[],
): FrameReference[] {
  const [origin, downsample] = [placement.origin[0]!, placement.downsample[0]!];
  return Array.from({ length: shape[0]! }, (_, z) => {
    const middle = Math.floor(origin + (z + 0.5) * downsample);
    return references[Math.min(references.length - 1, middle)]!;
  });
}

/** Writes the samples of the announced frames, place by place. */
class FrameWriter {
  readonly #sink: ByteSink;
  readonly #frames: readonly SegmentFrame[];
  readonly #type: Segmentation["type"];
  readonly #bits: BitFrames;
  readonly #empty: Uint8Array;
  readonly #padding: number;
  #next = 0;

  constructor(
    sink: ByteSink,
    frames: readonly SegmentFrame[],
    type: Segmentation["type"],
    samples: number,
    padding: number,
  ) {
    this.#sink = sink;
    this.#frames = frames;
    this.#type = type;
    this.#bits = new BitFrames(sink);
    this.#empty = new Uint8Array(samples);
    this.#padding = padding;
  }

  /** Adds the class indices of a place; undefined, or no call, for background. */
  async write(place: number, samples: Uint8Array | undefined): Promise<void> {
    for (; this.#frames[this.#next]?.place === place; this.#next++) {
      await this.#frame(this.#frames[this.#next]!, samples ?? this.#empty);
    }
  }

  async finish(): Promise<WrittenOutput> {
    // The single frame of labels that are all background.
    if (this.#next === 0) await this.write(this.#frames[0]!.place, undefined);
    if (this.#next !== this.#frames.length)
      throw new RangeError(`${this.#frames.length} frames were announced and ${this.#next} were written`);
    await this.#bits.finish();
    if (this.#padding) await this.#sink.append(new Uint8Array(1));
    return this.#sink.finish();
  }

  #frame({ label }: SegmentFrame, samples: Uint8Array): Promise<void> {
    if (label === undefined) return this.#sink.append(samples);
    if (this.#type === "binary") return this.#bits.append(samples, label);
    return this.#sink.append(samples.map((v) => (v === label ? 255 : 0)));
  }
}

/** Cuts the chunks of a 2-D label map into the tiles of the frames. */
class TileSink implements LabelSink {
  readonly #sink: ByteSink;
  readonly #info: LabelMapInfo;
  readonly #writer: FrameWriter;
  #written: Promise<void> = Promise.resolve();

  constructor(sink: ByteSink, info: LabelMapInfo, writer: FrameWriter) {
    this.#sink = sink;
    this.#info = info;
    this.#writer = writer;
  }

  writeTile(level: number, index: readonly number[], tile: LabelTile): Promise<void> {
    if (level > 0) return Promise.resolve();
    const { chunk, shape } = this.#info;
    const [height, width] = segmentationFrameSize(chunk);
    this.#written = this.#written.then(async () => {
      for (const { index: place, x } of tilesOfChunk(index, chunk, shape)) {
        const samples = new Uint8Array(height * width);
        for (let y = 0; y < height; y++) {
          const at = y * chunk[1]! + x;
          samples.set(tile.data.subarray(at, at + width), y * width);
        }
        await this.#writer.write(place, samples);
      }
    });
    return this.#written;
  }

  async finalize(): Promise<WrittenOutput> {
    await this.#written;
    return this.#writer.finish();
  }

  async abort(): Promise<void> {
    await this.#written.catch(() => undefined);
    await this.#sink.abort();
  }
}

import { crc32 } from "../../codecs/checksums.ts";
import { LabelDeflate } from "../../codecs/label-deflate.ts";
import type { ByteSink } from "../../image/byte-sink.ts";
import type { ImageSource } from "../../image/image-source.ts";
import type { LabelMapInfo, LabelSink, WrittenOutput } from "../../image/label-sink.ts";
import { GZIP_HEADER, gzipTrailer } from "../base/label-tile.ts";
import { SliceSink, type SliceWriter } from "../base/slice-sink.ts";
import { niftiLabelHeader } from "./nifti-header.ts";

/**
 * Writes a label volume as `.nii.gz`, slice after slice: uint8, i, j and k along x, y and z as in the source. It
 * holds the slices of one row of chunks.
 *
 * Written by hand: nifti-reader-js only reads.
 */
export async function createNiftiLabels(
  sink: ByteSink,
  info: LabelMapInfo,
  source: Pick<ImageSource, "affine" | "headers">,
): Promise<LabelSink> {
  try {
    const writer = new NiftiWriter(sink, info);
    const labels = new SliceSink(sink, info, writer);
    const stored = source.headers?.format === "nifti" ? await source.headers.read(0) : undefined;
    await writer.begin(niftiLabelHeader(info, source.affine, stored));
    return labels;
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

class NiftiWriter implements SliceWriter {
  readonly #sink: ByteSink;
  readonly #deflate: LabelDeflate;
  readonly #empty: Uint8Array;
  #crc = 0;
  #byteLength = 0;

  constructor(sink: ByteSink, info: LabelMapInfo) {
    const [, height, width] = info.shape as [number, number, number];
    this.#sink = sink;
    this.#empty = new Uint8Array(height * width);
    this.#deflate = new LabelDeflate(1, width);
  }

  async begin(header: Uint8Array): Promise<void> {
    await this.#sink.append(GZIP_HEADER);
    await this.#push(header);
  }

  writeSlice(_z: number, data: Uint8Array | undefined): Promise<void> {
    return this.#push(data ?? this.#empty);
  }

  async finish(): Promise<WrittenOutput> {
    await this.#sink.append(this.#deflate.finish());
    await this.#sink.append(gzipTrailer(this.#crc, this.#byteLength));
    return this.#sink.finish();
  }

  async #push(bytes: Uint8Array): Promise<void> {
    this.#crc = crc32(bytes, this.#crc);
    this.#byteLength += bytes.length;
    this.#deflate.push(bytes);
    const done = this.#deflate.take();
    if (done.length > 0) await this.#sink.append(done);
  }
}

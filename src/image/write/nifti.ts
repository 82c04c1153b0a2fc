import { Gzip } from "fflate";
import type { ImageSource } from "../image-source.ts";
import type { LabelMapInfo, LabelSink, WrittenOutput } from "../label-sink.ts";
import type { ByteSink } from "./byte-sink.ts";
import { niftiLabelHeader } from "./nifti-header.ts";
import { SliceSink, type SliceWriter } from "./slice-sink.ts";

/** As for label tiles: fflate, for the same bytes everywhere. */
const LEVEL = 5;

/**
 * Writes a label volume as `.nii.gz`, slice after slice: uint8, i, j and k along x, y and z as in the source. Held are the
 * slices of one row of chunks and the window of Deflate.
 */
export async function openNiftiLabels(
  sink: ByteSink,
  info: LabelMapInfo,
  source: Pick<ImageSource, "affine" | "headers">,
): Promise<LabelSink> {
  try {
    const writer = new NiftiWriter(sink, info);
    const labels = new SliceSink(sink, info, writer);
    const stored = source.headers?.format === "nifti" ? await source.headers.read(0) : undefined;
    await writer.push(niftiLabelHeader(info, source.affine, stored));
    return labels;
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

class NiftiWriter implements SliceWriter {
  readonly #sink: ByteSink;
  readonly #gzip: Gzip;
  readonly #empty: Uint8Array;
  #deflated: Uint8Array[] = [];

  constructor(sink: ByteSink, info: LabelMapInfo) {
    this.#sink = sink;
    this.#empty = new Uint8Array(info.shape[1]! * info.shape[2]!);
    // No time: the same labels are the same bytes.
    this.#gzip = new Gzip({ level: LEVEL, mtime: 0 }, (bytes) => {
      this.#deflated.push(bytes);
    });
  }

  async push(bytes: Uint8Array, last = false): Promise<void> {
    this.#gzip.push(bytes, last);
    const deflated = this.#deflated;
    this.#deflated = [];
    for (const part of deflated) await this.#sink.append(part);
  }

  writeSlice(_z: number, data: Uint8Array | undefined): Promise<void> {
    return this.push(data ?? this.#empty);
  }

  async finish(): Promise<WrittenOutput> {
    await this.push(new Uint8Array(0), true);
    return this.#sink.finish();
  }
}

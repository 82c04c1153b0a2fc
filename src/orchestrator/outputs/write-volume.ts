import type { LabelSink } from "../../image/label-sink.ts";
import { SliceBlock } from "../../tiling/grid/slice-block.ts";
import { VolumeScanner } from "../../tiling/objects/volume-scanner.ts";
import { readSliceBlocks } from "./label-slice-blocks.ts";
import type { OutputSinks } from "./output-sinks.ts";
import type { Pictures, WriteOutputsOptions } from "./outputs-options.ts";
import { PyramidWriter } from "./pyramid-writer.ts";
import { drawSlices } from "./slice-pictures.ts";
import { volumeTable } from "./volume-csv.ts";
import { spacingInMm, summarizeVolume, type VolumeSummary } from "./volume-summary.ts";

/**
 * Writes the outputs of a label volume. One pass over its slices makes pyramid, file and measurements; a second one makes
 * a DICOM segmentation, whose header lists the frames. Memory holds the chunks of one block of slices and the runs of
 * two slices.
 */
export async function writeVolume(
  options: WriteOutputsOptions,
  sinks: OutputSinks,
): Promise<{ summary: VolumeSummary; pictures: Pictures }> {
  const { labelStore, signal, source, origin } = options;
  const { info } = labelStore;
  const [depth, height, width] = info.shape as [number, number, number];
  const zarr = await sinks.labels("labels.ome.zarr", info);
  const pyramid = new PyramidWriter(zarr ? [zarr] : [], info);
  const nifti = await sinks.labels("labels.nii.gz", info);
  const csv = await sinks.text("measurements.csv");
  const scanner = new VolumeScanner([height, width], spacingInMm(info) ?? [1, 1, 1]);
  const slab = new SliceBlock(info.shape, info.chunk);
  const present: number[][] = [];
  const wantsPicture = options.outputs.includes("overlay.png");
  const labelled: number[] = [];
  const twice = options.outputs.includes("labels.seg.dcm");
  const total = twice ? 2 * depth : depth;
  for await (const row of readSliceBlocks(labelStore, signal)) {
    slab.clear();
    for (const { index, tile } of row.tiles) {
      pyramid.add(index, tile);
      if (tile === undefined) continue;
      await nifti?.writeTile(0, index, tile);
      slab.place(index, tile.data as Uint8Array);
    }
    for (const { data } of slab.slices(row.slab)) {
      present.push(scanner.push(data));
      if (wantsPicture) labelled.push(countLabelled(data));
    }
    await pyramid.settle();
    options.onProgress?.(Math.min(depth, (row.slab + 1) * info.chunk[0]!), total);
  }
  const summary = summarizeVolume(info, origin.source.affine, scanner.finish(), options.analysedPixels);
  csv?.add(volumeTable(summary, source));
  await csv?.flush();
  if (twice) await writeSegmentation(options, await sinks.labels("labels.seg.dcm", info, present));
  const picture = wantsPicture ? await drawSlices(options, labelled) : undefined;
  return { summary, pictures: picture ? [["overlay.png", picture]] : [] };
}

function countLabelled(data: Uint8Array | undefined): number {
  let n = 0;
  if (data) for (let i = 0; i < data.length; i++) if (data[i] !== 0) n++;
  return n;
}

async function writeSegmentation(options: WriteOutputsOptions, sink: LabelSink | undefined): Promise<void> {
  const [depth] = options.labelStore.info.shape;
  for await (const { slab, tiles } of readSliceBlocks(options.labelStore, options.signal)) {
    for (const { index, tile } of tiles) if (tile !== undefined) await sink?.writeTile(0, index, tile);
    options.onProgress?.(
      depth! + Math.min(depth!, (slab + 1) * options.labelStore.info.chunk[0]!),
      2 * depth!,
    );
  }
}

import type { LabelMapInfo, LabelSink } from "../label-sink.ts";
import type { ByteSink } from "./byte-sink.ts";
import { openDicomSegmentation } from "./dicom-seg/segmentation.ts";
import { openNiftiLabels } from "./nifti.ts";
import { openOmeTiff } from "./ome-tiff.ts";
import type { LabelOrigin, LabelOutputName } from "./output-targets.ts";

/** A label map that is one file, in the format its name tells. */
export function openLabelFile(
  name: LabelOutputName,
  sink: ByteSink,
  info: LabelMapInfo,
  origin: LabelOrigin,
  options: { bigTiff?: boolean } = {},
): Promise<LabelSink> {
  if (name === "labels.nii.gz") return openNiftiLabels(sink, info, origin.source);
  if (name === "labels.seg.dcm") return openDicomSegmentation(sink, info, origin);
  return openOmeTiff(sink, info, options);
}

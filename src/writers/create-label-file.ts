import type { ByteSink } from "../image/byte-sink.ts";
import type { LabelMapInfo, LabelSink } from "../image/label-sink.ts";
import type { LabelOrigin, LabelOutputName } from "../image/output-targets.ts";
import { createDicomSegmentation } from "./dicom-seg/segmentation.ts";
import { createNiftiLabels } from "./nifti/nifti.ts";
import { createOmeTiff } from "./ome-tiff/ome-tiff.ts";

/** A label map that is one file, in the format its name tells. */
export function createLabelFile(
  name: LabelOutputName,
  sink: ByteSink,
  info: LabelMapInfo,
  origin: LabelOrigin,
  options: { bigTiff?: boolean } = {},
): Promise<LabelSink> {
  if (name === "labels.nii.gz") return createNiftiLabels(sink, info, origin.source);
  if (name === "labels.seg.dcm") return createDicomSegmentation(sink, info, origin);
  return createOmeTiff(sink, info, options);
}

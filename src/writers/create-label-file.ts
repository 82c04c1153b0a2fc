import type { ByteSink } from "../image/byte-sink.ts";
import type { LabelMapInfo, LabelSink } from "../image/label-sink.ts";
import type { LabelOrigin, LabelOutputName } from "../image/output-targets.ts";
import { createDicomSegmentation } from "./dicom-seg/segmentation.ts";
import { createNiftiLabels } from "./nifti/nifti.ts";
import { createOmeTiff } from "./ome-tiff/ome-tiff.ts";

/** Creates a label map that is a single file, in the format of its name. */
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

import type { ByteSink } from "../image/byte-sink.ts";
import type { LabelMapInfo, LabelSink } from "../image/label-sink.ts";
import type { LabelOrigin, LabelOutputName } from "../image/output-targets.ts";
import { openDicomSegmentation } from "./dicom-seg/segmentation.ts";
import { openNiftiLabels } from "./nifti/nifti.ts";
import { openOmeTiff } from "./ome-tiff/ome-tiff.ts";

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

import type { FrameReference } from "../../image/image-source.ts";
import type { LabelMapInfo } from "../../image/label-sink.ts";
import type { Segmentation } from "../../image/output-targets.ts";
import { segmentationFrameSize } from "../../tiling/grid/segmentation-frame.ts";
import { item, numberElement, oneItem, textElement } from "./elements.ts";
import { decimalStrings, type FrameGeometry } from "./geometry.ts";

/** A frame: its place, and the class whose samples it holds; undefined if it holds all classes. */
export interface SegmentFrame {
  /** Slice, or tile in raster order. */
  place: number;
  label: number | undefined;
}

/** The frames in storage order: by place, then by class; only those that are not empty. */
export function* segmentFrames({ type, present }: Segmentation): Generator<SegmentFrame> {
  let any = false;
  for (const [place, labels] of present.entries()) {
    if (labels.length === 0) continue;
    any = true;
    if (type === "labelmap") yield { place, label: undefined };
    else for (const label of labels) yield { place, label };
  }
  // An image needs at least one frame, even when nothing was found.
  if (!any) yield { place: 0, label: type === "labelmap" ? undefined : 1 };
}

/** Item of the per-frame functional groups: content, position and source of a frame. */
export function frameItem(
  { place, label }: SegmentFrame,
  info: LabelMapInfo,
  geometry: FrameGeometry,
  reference: FrameReference | undefined,
): Uint8Array {
  const segment = label === undefined ? [] : [label];
  const groups: Uint8Array[] = [];
  if (reference !== undefined) groups.push(derivation(reference));
  if (info.axes === "zyx") {
    const position = decimalStrings(geometry.position({ z: place, row: 0, column: 0 }));
    groups.push(
      oneItem(0x00209111, numberElement(0x00209157, "UL", ...segment, place + 1)),
      oneItem(0x00209113, textElement(0x00200032, "DS", position)),
    );
  } else {
    const [height, width] = segmentationFrameSize(info.chunk);
    const across = Math.ceil(info.shape[1]! / width);
    const [tileRow, tileColumn] = [Math.floor(place / across), place % across];
    const [row, column] = [tileRow * height, tileColumn * width];
    const [x, y, z] = geometry.position({ z: 0, row, column });
    groups.push(
      oneItem(0x00209111, numberElement(0x00209157, "UL", ...segment, tileRow + 1, tileColumn + 1)),
      oneItem(
        0x0048021a,
        textElement(0x0040072a, "DS", decimalStrings([x])),
        textElement(0x0040073a, "DS", decimalStrings([y])),
        textElement(0x0040074a, "DS", decimalStrings([z])),
        numberElement(0x0048021e, "SL", column + 1),
        numberElement(0x0048021f, "SL", row + 1),
      ),
    );
  }
  if (label !== undefined) groups.push(oneItem(0x0062000a, numberElement(0x0062000b, "US", label)));
  return item(...groups);
}

/** Derivation Image Sequence: a segmentation of this image, on its grid. */
function derivation({ sopClass, sopInstance, frame }: FrameReference): Uint8Array {
  return oneItem(
    0x00089124,
    oneItem(
      0x00082112,
      textElement(0x00081150, "UI", sopClass),
      textElement(0x00081155, "UI", sopInstance),
      ...(frame === undefined ? [] : [textElement(0x00081160, "IS", String(frame + 1))]),
      textElement(0x0028135a, "CS", "YES"),
      oneItem(0x0040a170, ...code("121322", "DCM", "Source image for image processing operation")),
    ),
    oneItem(0x00089215, ...code("113076", "DCM", "Segmentation")),
  );
}

function code(value: string, scheme: string, meaning: string): Uint8Array[] {
  return [
    textElement(0x00080100, "SH", value),
    textElement(0x00080102, "SH", scheme),
    textElement(0x00080104, "LO", meaning),
  ];
}

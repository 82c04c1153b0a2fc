import type { DicomElements } from "dcmjs";
import { type Affine, columnLengths, placeAffine } from "../../image/affine.ts";
import { ImageFormatError } from "../../image/errors.ts";
import type { LabelMapInfo } from "../../image/label-sink.ts";
import { decimalString } from "./elements.ts";

type Vector = readonly [number, number, number];

/** Geometry of frames: of a series in the patient (LPS+), of a slide on the glass. Millimetres. */
export interface FrameGeometry {
  /** Directions of rows and columns: six cosines. */
  orientation: readonly number[];
  /** Between rows and between columns. */
  pixelSpacing: readonly [number, number];
  /** Between slices; for a slide its thickness. */
  depth: number;
  /** Centre of the first sample of slice `z`, or of a slide's sample at `row` and `column`. */
  position(at: { z: number; row: number; column: number }): Vector;
}

/** @param affine of level 0 of the source */
export function seriesGeometry(info: LabelMapInfo, affine: Affine): FrameGeometry {
  const placed = placeAffine(affine, info.placement);
  const steps = columnLengths(placed);
  // RAS to LPS: the first two axes change sign.
  const column = (c: number): Vector => [-placed[0]![c]!, -placed[1]![c]!, placed[2]![c]!];
  const unit = (c: number) => column(c).map((v) => v / steps[c]!);
  const [step, from] = [column(2), column(3)];
  return {
    orientation: [...unit(0), ...unit(1)],
    pixelSpacing: [steps[1], steps[0]],
    depth: steps[2],
    position: ({ z }) => [from[0] + z * step[0], from[1] + z * step[1], from[2] + z * step[2]],
  };
}

/** Rows to the left and columns down on the glass, like most scanners. */
const USUAL_ORIENTATION = [0, -1, 0, -1, 0, 0];

/** @param head of the level that was segmented */
export function slideGeometry(info: LabelMapInfo, head: DicomElements): FrameGeometry {
  const stated = readNumberValues(head, "00480102");
  const orientation = stated.length === 6 ? stated : USUAL_ORIENTATION;
  const origin = firstItem(head, "00480008");
  const measures = firstItem(firstItem(head, "52009229"), "00289110");
  // Some files omit the origin. Readers then assume 0 for slide and labels alike, so they still match.
  const [x = 0, y = 0] = [readNumberValues(origin, "0040072A")[0], readNumberValues(origin, "0040073A")[0]];
  if (info.spacing === undefined) {
    throw new ImageFormatError(
      "the slide does not state its pixel size, which labels.seg.dcm needs; choose another output",
    );
  }
  const unit = info.spacing.unit === "micrometer" ? 0.001 : 1;
  const [between, along] = info.spacing.values.map((v) => v * unit) as [number, number];
  const { placement } = info;
  // In samples of the level.
  const [row0, column0] = placement.origin.map((o, axis) => o / placement.downsample[axis]!) as [
    number,
    number,
  ];
  return {
    orientation,
    pixelSpacing: [between, along],
    depth: readNumberValues(measures, "00180050")[0] ?? 0.001,
    position: ({ row, column }) => {
      const at = (axis: 0 | 1 | 2) =>
        (column0 + column) * along * orientation[axis]! + (row0 + row) * between * orientation[axis + 3]!;
      return [x + at(0), y + at(1), at(2)];
    },
  };
}

export function firstItem(elements: DicomElements, tag: string): DicomElements {
  return (elements[tag]?.Value?.[0] ?? {}) as DicomElements;
}

export function readNumberValues(elements: DicomElements, tag: string): number[] {
  return (elements[tag]?.Value ?? []).map(Number).filter(Number.isFinite);
}

export function readTextValue(elements: DicomElements, tag: string): string | undefined {
  const value = elements[tag]?.Value?.[0];
  return value === undefined || value === null || value === "" ? undefined : String(value);
}

/** Several numbers as one DS. */
export function decimalStrings(values: readonly number[]): string {
  return values.map(decimalString).join("\\");
}

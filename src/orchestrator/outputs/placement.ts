import type { LabelMapInfo } from "../../image/label-sink.ts";
import type { SampleSize } from "../../tiling/objects/measure-objects.ts";

/** Position of the samples of a 2-D label map in the source and in space. */
export interface Placement {
  /** Level-0 sample at the corner of the map, and level-0 samples per label sample. */
  origin: { x: number; y: number };
  downsample: { x: number; y: number };
  /** Size of a label sample in µm; 1 if the spacing is unknown. */
  sample: SampleSize;
  /** µm per level-0 sample; undefined if unknown. */
  sourceSpacing: SampleSize | undefined;
}

export function toPlacement(info: LabelMapInfo): Placement {
  const [originY, originX] = info.placement.origin as [number, number];
  const [downsampleY, downsampleX] = info.placement.downsample as [number, number];
  const scale = info.spacing?.unit === "millimeter" ? 1000 : 1;
  const [y, x] = (info.spacing?.values ?? [1, 1]) as [number, number];
  return {
    origin: { x: originX, y: originY },
    downsample: { x: downsampleX, y: downsampleY },
    sample: { x: x * scale, y: y * scale },
    sourceSpacing:
      info.spacing === undefined ? undefined : { x: (x * scale) / downsampleX, y: (y * scale) / downsampleY },
  };
}

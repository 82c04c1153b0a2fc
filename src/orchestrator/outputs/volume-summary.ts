import { type Affine, applyAffine } from "../../image/affine.ts";
import type { LabelMapInfo } from "../../image/label-sink.ts";
import type { StructureMeasure } from "../../tiling/objects/volume-scanner.ts";

/** A box, or a point, in voxels of level 0 (`[z, y, x]`) and in millimetres (`[x, y, z]` of the patient's frame). */
type Triple = [number, number, number];

/** One class of a label volume, not background. */
export interface StructureSummary {
  name: string;
  /** Label samples. */
  voxels: number;
  volumeMm3: number | undefined;
  volumeMl: number | undefined;
  /** Share of the analysed samples. */
  fraction: number | undefined;
  /** Undefined without voxels. */
  place: StructurePlace | undefined;
  /** Number of 26-connected parts. */
  components: number;
  surfaceMm2: number | undefined;
}

export interface StructurePlace {
  /** Voxel of level 0, `[z, y, x]`; the centre of the first voxel is 0. */
  centroidVoxel: Triple;
  /** First voxel and size of the box, at level 0. */
  boxVoxel: { origin: Triple; size: Triple };
  /** Millimetres, `[x, y, z]`. */
  centroidMm: Triple | undefined;
  /** Bounding box of whole voxels, along the axes of the frame. */
  boxMm: { min: Triple; max: Triple } | undefined;
}

export interface VolumeSummary {
  analysedVoxels: number;
  analysedVolumeMm3: number | undefined;
  structures: StructureSummary[];
}

/** Millimetres per label sample, `[z, y, x]`; undefined if unknown. */
export function spacingInMm(info: LabelMapInfo): Triple | undefined {
  if (info.spacing === undefined) return undefined;
  const unit = info.spacing.unit === "micrometer" ? 0.001 : 1;
  return info.spacing.values.map((v) => v * unit) as Triple;
}

/**
 * @param affine of level 0 of the source; without it, millimetres are relative to the centre of the first voxel, along the
 *   axes of the volume
 * @param analysedVoxels segmented label samples
 */
export function summarizeVolume(
  info: LabelMapInfo,
  affine: Affine | undefined,
  measures: readonly StructureMeasure[],
  analysedVoxels: number,
): VolumeSummary {
  const spacing = spacingInMm(info);
  const voxelMm3 = spacing && spacing[0] * spacing[1] * spacing[2];
  const toMm = affine ?? (spacing && axesAffine(info, spacing));
  const volume = (voxels: number) => (voxelMm3 === undefined ? undefined : voxels * voxelMm3);
  const byLabel = new Map(measures.map((measure) => [measure.label, measure]));
  const structures = info.classes.flatMap(({ name }, label): StructureSummary[] => {
    if (label === 0) return [];
    const measure = byLabel.get(label);
    const voxels = measure?.voxels ?? 0;
    const volumeMm3 = volume(voxels);
    return [
      {
        name,
        voxels,
        volumeMm3,
        volumeMl: volumeMm3 === undefined ? undefined : volumeMm3 / 1000,
        fraction: analysedVoxels > 0 ? voxels / analysedVoxels : undefined,
        place: measure && toPlace(measure, info, toMm),
        components: measure?.components ?? 0,
        surfaceMm2: spacing && (measure?.surface ?? 0),
      },
    ];
  });
  return { analysedVoxels, analysedVolumeMm3: volume(analysedVoxels), structures };
}

function axesAffine({ placement }: LabelMapInfo, spacing: Triple): Affine {
  const [z, y, x] = spacing.map((v, axis) => v / placement.downsample[axis]!) as Triple;
  return [
    [x, 0, 0, 0],
    [0, y, 0, 0],
    [0, 0, z, 0],
    [0, 0, 0, 1],
  ];
}

function toPlace(
  { centroid, first, last }: StructureMeasure,
  { placement: { origin, downsample } }: LabelMapInfo,
  affine: Affine | undefined,
): StructurePlace {
  const corner = (axis: number, index: number) => origin[axis]! + index * downsample[axis]!;
  const map = (of: (axis: number) => number): Triple => [of(0), of(1), of(2)];
  const centroidVoxel = map((axis) => corner(axis, centroid[axis]!) + (downsample[axis]! - 1) / 2);
  const from = map((axis) => corner(axis, first[axis]!));
  const to = map((axis) => corner(axis, last[axis]! + 1));
  const boxVoxel = { origin: from, size: map((axis) => to[axis]! - from[axis]!) };
  if (affine === undefined) return { centroidVoxel, boxVoxel, centroidMm: undefined, boxMm: undefined };
  const corners = Array.from({ length: 8 }, (_, n) => {
    // From half a voxel before the first centre to half a voxel after the last.
    const at = (axis: number) => ((n >> axis) & 1 ? to[axis]! : from[axis]!) - 0.5;
    return applyAffine(affine, [at(2), at(1), at(0)]);
  });
  return {
    centroidVoxel,
    boxVoxel,
    centroidMm: applyAffine(affine, centroidVoxel.toReversed() as Triple),
    boxMm: {
      min: map((axis) => Math.min(...corners.map((c) => c[axis]!))),
      max: map((axis) => Math.max(...corners.map((c) => c[axis]!))),
    },
  };
}

import { csvLine } from "./csv-line.ts";
import { decimal } from "./numbers.ts";
import type { VolumeSummary } from "./volume-summary.ts";

/** One table for the volume and its structures, distinguished by `level`; columns that do not apply are empty. */
const COLUMNS = [
  "level",
  "source",
  "class",
  "voxels",
  "volume_mm3",
  "volume_ml",
  "fraction",
  "components",
  "surface_mm2",
  "centroid_x_voxel",
  "centroid_y_voxel",
  "centroid_z_voxel",
  "box_x_voxel",
  "box_y_voxel",
  "box_z_voxel",
  "box_width_voxel",
  "box_height_voxel",
  "box_depth_voxel",
  "centroid_x_mm",
  "centroid_y_mm",
  "centroid_z_mm",
  "box_min_x_mm",
  "box_min_y_mm",
  "box_min_z_mm",
  "box_max_x_mm",
  "box_max_y_mm",
  "box_max_z_mm",
] as const;

/** One row for the analysed region, one per structure. Positions are voxels of level 0, or millimetres. */
export function volumeTable(summary: VolumeSummary, source: string): string {
  let text = `${COLUMNS.join(",")}\r\n`;
  text += csvLine(COLUMNS, {
    level: "volume",
    source,
    voxels: String(summary.analysedVoxels),
    volume_mm3: decimal(summary.analysedVolumeMm3, 3),
    volume_ml: decimal(summary.analysedVolumeMm3 && summary.analysedVolumeMm3 / 1000, 6),
    fraction: "1",
  });
  for (const structure of summary.structures) {
    const { place } = structure;
    const box = place?.boxVoxel;
    const mm = place?.boxMm;
    text += csvLine(COLUMNS, {
      level: "structure",
      source,
      class: structure.name,
      voxels: String(structure.voxels),
      volume_mm3: decimal(structure.volumeMm3, 3),
      volume_ml: decimal(structure.volumeMl, 6),
      fraction: decimal(structure.fraction, 6),
      components: String(structure.components),
      surface_mm2: decimal(structure.surfaceMm2, 3),
      centroid_x_voxel: decimal(place?.centroidVoxel[2], 3),
      centroid_y_voxel: decimal(place?.centroidVoxel[1], 3),
      centroid_z_voxel: decimal(place?.centroidVoxel[0], 3),
      box_x_voxel: decimal(box?.origin[2], 2),
      box_y_voxel: decimal(box?.origin[1], 2),
      box_z_voxel: decimal(box?.origin[0], 2),
      box_width_voxel: decimal(box?.size[2], 2),
      box_height_voxel: decimal(box?.size[1], 2),
      box_depth_voxel: decimal(box?.size[0], 2),
      centroid_x_mm: decimal(place?.centroidMm?.[0], 3),
      centroid_y_mm: decimal(place?.centroidMm?.[1], 3),
      centroid_z_mm: decimal(place?.centroidMm?.[2], 3),
      box_min_x_mm: decimal(mm?.min[0], 3),
      box_min_y_mm: decimal(mm?.min[1], 3),
      box_min_z_mm: decimal(mm?.min[2], 3),
      box_max_x_mm: decimal(mm?.max[0], 3),
      box_max_y_mm: decimal(mm?.max[1], 3),
      box_max_z_mm: decimal(mm?.max[2], 3),
    });
  }
  return text;
}

import { csvLine } from "./csv-line.ts";
import type { MeasuredObject } from "./measured-object.ts";
import { decimal } from "./numbers.ts";
import type { Placement } from "./placement.ts";
import type { SlideSummary } from "./slide-summary.ts";

/** One table for objects and slide, distinguished by `level`; columns that do not apply are empty. */
const COLUMNS = [
  "level",
  "source",
  "class",
  "number",
  "id",
  "area_px",
  "area_um2",
  "centroid_x_px",
  "centroid_y_px",
  "centroid_x_um",
  "centroid_y_um",
  "box_x_px",
  "box_y_px",
  "box_width_px",
  "box_height_px",
  "perimeter_um",
  "circularity",
  "major_axis_um",
  "minor_axis_um",
  "eccentricity",
  "orientation_deg",
  "fraction",
  "count",
  "density_per_mm2",
  "mean_area_um2",
  "median_area_um2",
] as const;

type Row = Partial<Record<(typeof COLUMNS)[number], string>>;

export const CSV_HEAD = `${COLUMNS.join(",")}\r\n`;

/** Positions and boxes in level-0 pixels (`_px`); `area_px` counts label pixels. */
export function objectRow(object: MeasuredObject, placement: Placement, source: string): string {
  const { measurements: m, runs, kind } = object;
  const { origin, downsample, sourceSpacing } = placement;
  const x = origin.x + m.centroid.x * downsample.x;
  const y = origin.y + m.centroid.y * downsample.y;
  const um = (value: number, decimals = 3) => (sourceSpacing === undefined ? "" : decimal(value, decimals));
  return line({
    level: "object",
    source,
    class: kind.name,
    number: String(runs.number),
    id: object.id,
    area_px: String(m.areaPx),
    area_um2: um(m.area),
    centroid_x_px: decimal(x, 2),
    centroid_y_px: decimal(y, 2),
    centroid_x_um: um(x * (sourceSpacing?.x ?? 1)),
    centroid_y_um: um(y * (sourceSpacing?.y ?? 1)),
    box_x_px: decimal(origin.x + m.bounds.x * downsample.x, 2),
    box_y_px: decimal(origin.y + m.bounds.y * downsample.y, 2),
    box_width_px: decimal(m.bounds.width * downsample.x, 2),
    box_height_px: decimal(m.bounds.height * downsample.y, 2),
    perimeter_um: um(m.perimeter),
    circularity: decimal(m.circularity, 4),
    major_axis_um: um(m.majorAxis),
    minor_axis_um: um(m.minorAxis),
    eccentricity: decimal(m.eccentricity, 4),
    orientation_deg: decimal(m.orientationDegrees, 2),
  });
}

/** One row for the analysed area, one per class (`class`), one per kind of object (`objects`). */
export function slideRows(summary: SlideSummary, source: string): string {
  let text = line({
    level: "slide",
    source,
    area_px: String(summary.analysedPixels),
    area_um2: decimal(summary.analysedAreaUm2, 3),
    fraction: "1",
    count: String(summary.objects.reduce((n, o) => n + o.count, 0)),
  });
  for (const c of summary.classes) {
    text += line({
      level: "class",
      source,
      class: c.name,
      area_px: String(c.pixels),
      area_um2: decimal(c.areaUm2, 3),
      fraction: decimal(c.fraction, 6),
    });
  }
  for (const o of summary.objects) {
    text += line({
      level: "objects",
      source,
      class: o.name,
      count: String(o.count),
      density_per_mm2: decimal(o.densityPerMm2, 3),
      mean_area_um2: decimal(o.meanAreaUm2, 3),
      median_area_um2: decimal(o.medianAreaUm2, 3),
    });
  }
  return text;
}

function line(row: Row): string {
  return csvLine(COLUMNS, row);
}

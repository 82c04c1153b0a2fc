/** Columns of the object table for people: docs/format.md describes them. */
const NAMES: Record<string, string> = {
  number: "Number",
  area_px: "Area (label pixels)",
  area_um2: "Area (µm²)",
  perimeter_um: "Perimeter (µm)",
  circularity: "Circularity",
  major_axis_um: "Major axis (µm)",
  minor_axis_um: "Minor axis (µm)",
  eccentricity: "Eccentricity",
  orientation_deg: "Orientation (°)",
  centroid_x_px: "Centroid x (px)",
  centroid_y_px: "Centroid y (px)",
};

export function measurementName(column: string): string {
  return NAMES[column] ?? column;
}

/** A value with four digits; whole numbers as they are. */
export function measurementText(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4)));
}

import { copyBox, intersect } from "../../tiling/grid/box.ts";
import { type Coverage, computeCoverage } from "../../tiling/grid/coverage.ts";
import { product, type Raster, type Rect } from "../../tiling/grid/raster.ts";
import type { JobPlan } from "../job-plan.ts";

/** The written rect within the segmented region, in samples of the grid; undefined if both are the same. */
function outputRect({ region, output }: JobPlan): Rect | undefined {
  if (!output) return undefined;
  const origin = output.region.origin.map((o, axis) => o - region.origin[axis]!);
  return { origin, size: output.region.size };
}

/** The chunks and samples that a job must produce. */
export function planCoverage(plan: JobPlan): Coverage {
  return computeCoverage(plan.grid, plan.kept, plan.chunk, outputRect(plan));
}

/** The written part of a merged chunk and its rect in the grid. Samples around it lack some of their windows. */
export function partOfOutput(
  plan: JobPlan,
  labels: Raster<Uint8Array>,
  rect: Rect,
): [labels: Raster<Uint8Array>, rect: Rect] {
  const output = outputRect(plan);
  if (!output) return [labels, rect];
  const part = intersect(rect, output);
  if (!part) return [{ data: new Uint8Array(0), shape: rect.size.map(() => 0) }, rect];
  const data = new Uint8Array(product(part.size));
  const from = { ...labels, origin: part.origin.map((o, axis) => o - rect.origin[axis]!) };
  copyBox(from, { data, shape: part.size, origin: part.size.map(() => 0) }, part.size);
  return [{ data, shape: part.size }, part];
}

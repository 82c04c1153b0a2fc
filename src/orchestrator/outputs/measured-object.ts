import type { ObjectRuns } from "../../tiling/objects/collect-objects.ts";
import type { ObjectMeasurements } from "../../tiling/objects/measure-objects.ts";
import type { Polygon } from "../../tiling/objects/trace-polygons.ts";
import type { ObjectKind } from "./object-kinds.ts";

/** An object with all that the outputs say of it. Rings, centroid and bounds are in label samples. */
export interface MeasuredObject {
  id: string;
  runs: ObjectRuns;
  kind: ObjectKind;
  polygons: readonly Polygon[];
  measurements: ObjectMeasurements;
}

/**
 * A UUID (RFC 9562 version 8: own layout) from the job and the number of the object: the same run gives the same
 * ids, two jobs give different ones. `seed` is hex, at least 18 digits.
 */
export function objectId(seed: string, number: number): string {
  const s = seed.toLowerCase();
  const n = number.toString(16).padStart(12, "0");
  return `${s.slice(0, 8)}-${s.slice(8, 12)}-8${s.slice(12, 15)}-8${s.slice(15, 18)}-${n}`;
}

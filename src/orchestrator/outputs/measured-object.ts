import type { ObjectRuns } from "../../tiling/objects/collect-objects.ts";
import type { ObjectMeasurements } from "../../tiling/objects/measure-objects.ts";
import { simplifyPolygon } from "../../tiling/objects/simplify-polygons.ts";
import type { Polygon } from "../../tiling/objects/trace-polygons.ts";
import type { ObjectKind } from "./object-kinds.ts";

/** An object with its measurements. Rings, centroid and bounds are in label samples. */
export interface MeasuredObject {
  id: string;
  runs: ObjectRuns;
  kind: ObjectKind;
  polygons: readonly Polygon[];
  measurements: ObjectMeasurements;
}

/** The polygons that are written. Objects of several parts stay exact: parts that touch at a corner could overlap. */
export function outlineOf({ polygons }: MeasuredObject, simplifyTolerance: number): readonly Polygon[] {
  return polygons.length > 1 ? polygons : [simplifyPolygon(polygons[0]!, simplifyTolerance)];
}

/**
 * A UUID (RFC 9562 version 8) from the seed of the job and the number of the object: the same job gives the same ids,
 * different jobs different ones. `seed`: at least 18 hex digits.
 */
export function objectId(seed: string, number: number): string {
  const s = seed.toLowerCase();
  const n = number.toString(16).padStart(12, "0");
  return `${s.slice(0, 8)}-${s.slice(8, 12)}-8${s.slice(12, 15)}-8${s.slice(15, 18)}-${n}`;
}

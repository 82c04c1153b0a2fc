import type { LabelMapInfo } from "../../image/label-sink.ts";
import { interiorRule, type ObjectRule, regionRule } from "../../tiling/objects/connected-components.ts";

/** `objects` of a model package, sizes in label samples. */
export interface ModelObjectRule {
  interior: readonly number[];
  boundary: readonly number[];
  connectivity: 4 | 8;
  /** Minimum area of the interior of an object, in label samples. */
  minArea: number;
  /** Maximum steps that an interior grows into the boundary; default 8. */
  maxGrow?: number;
  className: string;
}

export interface ObjectKind {
  name: string;
  /** Red, green, blue. */
  color: [number, number, number];
}

export interface ObjectKinds {
  rule: ObjectRule;
  /** By `ObjectRuns.kind`. */
  kinds: ReadonlyMap<number, ObjectKind>;
  /** QuPath: detections are for thousands of cells, annotations for regions that a user edits. */
  objectType: "detection" | "annotation";
}

/** The kinds of objects in a label map: by the rule of the model, or the regions of each class. */
export function objectKinds(info: LabelMapInfo, objects: ModelObjectRule | undefined): ObjectKinds {
  if (objects !== undefined) {
    const color = rgb(info.classes[objects.interior[0]!]!.color);
    return {
      rule: interiorRule(objects),
      kinds: new Map([[1, { name: objects.className, color }]]),
      objectType: "detection",
    };
  }
  const kinds = new Map<number, ObjectKind>();
  info.classes.forEach((c, i) => {
    if (i > 0) kinds.set(i, { name: c.name, color: rgb(c.color) });
  });
  return { rule: regionRule(info.classes.length), kinds, objectType: "annotation" };
}

function rgb(color: string): [number, number, number] {
  const value = Number.parseInt(color.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

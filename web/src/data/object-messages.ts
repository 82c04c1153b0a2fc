import type { Bounds } from "./camera.ts";
import type { PlacedKey } from "./place.ts";

/** A kind of object, as the table names it. */
export interface ObjectClass {
  name: string;
  /** Red, green, blue. */
  color: readonly [number, number, number];
}

/** A row group: objects that lie together. */
export interface ObjectGroupInfo {
  count: number;
  /** Level-0 pixels. */
  box: Bounds;
}

export interface OpenedObjects {
  classes: readonly ObjectClass[];
  groups: readonly ObjectGroupInfo[];
  /** Columns of numbers that every object has. */
  measurements: readonly string[];
}

/** What is known about each object of a group before its outline is read. */
export interface ObjectMarks {
  /** Object numbers. */
  numbers: Int32Array<ArrayBuffer>;
  /** Index in `OpenedObjects.classes`. */
  classes: Uint8Array<ArrayBuffer>;
  /** Left, top, right, bottom, relative to the group's box. */
  boxes: Float32Array<ArrayBuffer>;
}

/** Outlines of a group as line segments `x0, y0, x1, y1, index of the object`, relative to the group's box. */
export interface ObjectOutlines {
  segments: Float32Array<ArrayBuffer>;
  /** First segment of each object, and their number at the end. */
  first: Uint32Array<ArrayBuffer>;
}

export interface ObjectDetails {
  id: string;
  className: string;
  values: readonly (readonly [name: string, value: number])[];
}

export type ObjectQuery =
  | { kind: "open"; address: PlacedKey }
  | { kind: "marks"; group: number }
  | { kind: "outlines"; group: number }
  | { kind: "column"; group: number; name: string }
  | { kind: "details"; group: number; index: number };

/** Answers by the kind of the query. A table that does not exist is `undefined`. */
export interface ObjectAnswers {
  open: OpenedObjects | undefined;
  marks: ObjectMarks;
  outlines: ObjectOutlines;
  column: Float32Array<ArrayBuffer>;
  details: ObjectDetails;
}

export type ObjectRequest = ObjectQuery & { id: number };
export type ObjectResponse =
  | { id: number; ok: true; value: ObjectAnswers[keyof ObjectAnswers] }
  | { id: number; ok: false; message: string };

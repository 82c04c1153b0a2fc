import { ByteWriter, type ColumnSource, ParquetWriter, type SchemaElement } from "hyparquet-writer";
import type { ByteSink } from "../../image/byte-sink.ts";
import type { WrittenOutput } from "../../image/label-sink.ts";
import { type MeasuredObject, outlineOf } from "./measured-object.ts";
import type { ObjectKinds } from "./object-kinds.ts";
import type { Placement } from "./placement.ts";
import { encodeOutline } from "./well-known-binary.ts";

/** Objects of a row group: what a viewer reads at once. */
const GROUP = 2048;
/** Objects that are held, and then sorted from left to right: neighbours come to lie in the same row groups. */
const BAND = 4 * GROUP;

type Leaf = Pick<SchemaElement, "type" | "converted_type">;
const TEXT: Leaf = { type: "BYTE_ARRAY", converted_type: "UTF8" };
const BOX = ["xmin", "ymin", "xmax", "ymax"] as const;

/** A row, ready to be written. */
interface Row {
  x: number;
  bbox: Record<(typeof BOX)[number], number>;
  values: Record<string, string | number | Uint8Array | undefined>;
}

/** Columns with their types; `?` at the end of a name: absent where the pixel size is unknown. */
const COLUMNS: readonly (readonly [string, Leaf])[] = [
  ["number", { type: "INT32" }],
  ["class", TEXT],
  ["bbox", {}],
  ["area_px", { type: "INT32" }],
  ["area_um2?", { type: "FLOAT" }],
  ["perimeter_um?", { type: "FLOAT" }],
  ["circularity", { type: "FLOAT" }],
  ["major_axis_um?", { type: "FLOAT" }],
  ["minor_axis_um?", { type: "FLOAT" }],
  ["eccentricity", { type: "FLOAT" }],
  ["orientation_deg", { type: "FLOAT" }],
  ["centroid_x_px", { type: "DOUBLE" }],
  ["centroid_y_px", { type: "DOUBLE" }],
  ["id", TEXT],
  ["geometry", { type: "BYTE_ARRAY" }],
];

/**
 * `objects.parquet`: one row per object, GeoParquet 1.1 with bounding boxes, so that a viewer finds the objects of a place by
 * range reads. Objects arrive in the order of their last row. Bands of them are sorted from left to right and written as
 * row groups with small boxes; nothing of the file is held but one band and its index.
 */
export class ObjectTable {
  readonly #sink: ByteSink;
  readonly #placement: Placement;
  readonly #tolerance: number;
  readonly #bytes = new ByteWriter(1 << 16);
  readonly #writer: ParquetWriter;
  #rows: Row[] = [];
  #extent: [number, number, number, number] | undefined;
  #types = new Set<"Polygon" | "MultiPolygon">();
  readonly #kinds: ObjectKinds;

  constructor(sink: ByteSink, placement: Placement, kinds: ObjectKinds, simplifyTolerance: number) {
    this.#sink = sink;
    this.#placement = placement;
    this.#tolerance = simplifyTolerance;
    this.#kinds = kinds;
    this.#writer = new ParquetWriter({
      writer: this.#bytes,
      schema: schema(),
      createdBy: "tilewright",
    });
  }

  /** Whether a band is complete and should be flushed. */
  get isFull(): boolean {
    return this.#rows.length >= BAND;
  }

  add(object: MeasuredObject): void {
    const { measurements: m, runs, kind, id } = object;
    const { origin, downsample, sourceSpacing } = this.#placement;
    const polygons = outlineOf(object, this.#tolerance);
    this.#types.add(polygons.length > 1 ? "MultiPolygon" : "Polygon");
    const { x, y, width, height } = m.bounds;
    const box = [
      origin.x + x * downsample.x,
      origin.y + y * downsample.y,
      origin.x + (x + width) * downsample.x,
      origin.y + (y + height) * downsample.y,
    ] as const;
    const e = this.#extent ?? box;
    this.#extent = [
      Math.min(e[0], box[0]),
      Math.min(e[1], box[1]),
      Math.max(e[2], box[2]),
      Math.max(e[3], box[3]),
    ];
    const um = (value: number) => (sourceSpacing === undefined ? undefined : value);
    this.#rows.push({
      x: m.centroid.x,
      bbox: {
        xmin: floatAtMost(box[0]),
        ymin: floatAtMost(box[1]),
        xmax: -floatAtMost(-box[2]),
        ymax: -floatAtMost(-box[3]),
      },
      values: {
        number: runs.number,
        class: kind.name,
        area_px: m.areaPx,
        area_um2: um(m.area),
        perimeter_um: um(m.perimeter),
        circularity: m.circularity,
        major_axis_um: um(m.majorAxis),
        minor_axis_um: um(m.minorAxis),
        eccentricity: m.eccentricity,
        orientation_deg: m.orientationDegrees,
        centroid_x_px: origin.x + m.centroid.x * downsample.x,
        centroid_y_px: origin.y + m.centroid.y * downsample.y,
        id,
        geometry: encodeOutline(polygons, this.#placement),
      },
    });
  }

  /** Writes the objects that were added. */
  async flush(): Promise<void> {
    const rows = this.#rows.sort((a, b) => a.x - b.x || compareNumbers(a, b));
    this.#rows = [];
    if (rows.length === 0) return;
    const columnData: ColumnSource[] = COLUMNS.map(([column]) => {
      const name = column.replace("?", "");
      const data = rows.map((row) => (name === "bbox" ? row.bbox : (row.values[name] ?? null)));
      // Only boxes are searched by.
      return { name, data, offsetIndex: false, statistics: name === "bbox" };
    });
    // Equal groups, none larger than GROUP.
    const rowGroupSize = Math.ceil(rows.length / Math.ceil(rows.length / GROUP));
    this.#writer.write({ columnData, rowGroupSize });
    await this.#append();
  }

  /** Writes what is left, and the index. */
  async end(): Promise<void> {
    await this.flush();
    this.#writer.kvMetadata = [
      { key: "geo", value: JSON.stringify(this.#geoMetadata()) },
      {
        key: "tilewright",
        value: JSON.stringify({
          classes: [...this.#kinds.kinds.values()].map(({ name, color }) => ({ name, color })),
          micrometresPerPixel: this.#placement.sourceSpacing ?? null,
        }),
      },
    ];
    this.#writer.finish();
    await this.#append();
  }

  finalize(): Promise<WrittenOutput> {
    return this.#sink.finish();
  }

  abort(): Promise<void> {
    return this.#sink.abort();
  }

  async #append(): Promise<void> {
    const bytes = this.#bytes.getBytes().slice();
    // The writer counts on from its offset.
    this.#bytes.index = 0;
    await this.#sink.append(bytes);
  }

  /** The `geo` metadata of GeoParquet 1.1. Coordinates are pixels: there is no place on Earth (`crs` null). */
  #geoMetadata(): unknown {
    const covering = Object.fromEntries(BOX.map((side) => [side, ["bbox", side]]));
    return {
      version: "1.1.0",
      primary_column: "geometry",
      columns: {
        geometry: {
          encoding: "WKB",
          geometry_types: [...this.#types].sort(),
          crs: null,
          edges: "planar",
          orientation: "counterclockwise",
          covering: { bbox: covering },
          ...(this.#extent && { bbox: this.#extent }),
        },
      },
    };
  }
}

function compareNumbers(a: Row, b: Row): number {
  return (a.values.number as number) - (b.values.number as number);
}

function schema(): SchemaElement[] {
  const elements: SchemaElement[] = [{ name: "schema", num_children: COLUMNS.length }];
  for (const [name, leaf] of COLUMNS) {
    if (name === "bbox") {
      elements.push({ name, repetition_type: "REQUIRED", num_children: BOX.length });
      for (const side of BOX) elements.push({ name: side, repetition_type: "REQUIRED", type: "FLOAT" });
    } else if (name.endsWith("?")) {
      elements.push({ name: name.slice(0, -1), repetition_type: "OPTIONAL", ...leaf });
    } else elements.push({ name, repetition_type: "REQUIRED", ...leaf });
  }
  return elements;
}

const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

/** The largest float32 that is not above a value: a box of floats must not be smaller than the box of doubles. */
function floatAtMost(value: number): number {
  float[0] = value;
  if (float[0] <= value) return float[0];
  // The next one down: for negative numbers further from zero.
  if (float[0] > 0) bits[0]!--;
  else bits[0]!++;
  return float[0];
}

import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  type RowGroup,
} from "hyparquet";
import type { ObjectStore } from "../../../src/storage/object-store.ts";
import type {
  ObjectAnswers,
  ObjectClass,
  ObjectDetails,
  ObjectGroupInfo,
  ObjectMarks,
  ObjectOutlines,
  ObjectQuery,
  ObjectRequest,
  ObjectResponse,
  OpenedObjects,
} from "../data/object-messages.ts";
import { toSegments } from "../data/outline-segments.ts";
import { openPlace, type PlacedKey } from "../data/place.ts";

/** Columns that are no measurements. */
const OTHER = new Set(["number", "class", "bbox", "id", "geometry"]);
/** The end of the file that is read first: it holds the index, and of a small table everything. */
const TAIL_BYTES = 128 * 1024;

interface OpenTable {
  file: AsyncBuffer;
  metadata: FileMetaData;
  /** First row of each row group. */
  starts: number[];
  opened: OpenedObjects;
}

let table: OpenTable | undefined;

self.onmessage = async ({ data: request }: MessageEvent<ObjectRequest>) => {
  const { id } = request;
  try {
    const value = await answer(request);
    const arrays = Object.values((value as object | undefined) ?? {}).filter(ArrayBuffer.isView);
    const transfer = ArrayBuffer.isView(value) ? [value.buffer] : arrays.map((array) => array.buffer);
    self.postMessage({ id, ok: true, value } as ObjectResponse, { transfer: transfer as ArrayBuffer[] });
  } catch (error) {
    self.postMessage({ id, ok: false, message: (error as Error).message } satisfies ObjectResponse);
  }
};

async function answer(query: ObjectQuery): Promise<ObjectAnswers[keyof ObjectAnswers]> {
  switch (query.kind) {
    case "open":
      return open(query.address);
    case "marks":
      return readMarks(query.group);
    case "outlines":
      return readOutlines(query.group);
    case "column":
      return readColumn(query.group, query.name);
    case "details":
      return readDetails(query.group, query.index);
  }
}

/** The stored file as hyparquet reads it, at the state that it has now. */
async function openFile(store: ObjectStore, key: string): Promise<AsyncBuffer | undefined> {
  const info = await store.head(key);
  if (info === undefined) return undefined;
  const { byteLength, etag } = info;
  return {
    byteLength,
    async slice(start, end = byteLength) {
      const first = start < 0 ? byteLength + start : start;
      const bytes = await store.getRange(key, first, end - first, { ifMatch: etag });
      if (bytes?.length !== end - first) throw new Error(`${key} has changed; reload the page`);
      return bytes.byteLength === bytes.buffer.byteLength
        ? (bytes.buffer as ArrayBuffer)
        : (bytes.slice().buffer as ArrayBuffer);
    },
  };
}

async function open({ key, place }: PlacedKey): Promise<OpenedObjects | undefined> {
  const file = await openFile(openPlace(place), key);
  if (file === undefined) return undefined;
  const metadata = await parquetMetadataAsync(file, { initialFetchSize: TAIL_BYTES, geoparquet: false });
  const own = metadata.key_value_metadata?.find((entry) => entry.key === "tilewright")?.value;
  if (own === undefined) throw new Error(`${key} was not written by Tilewright`);
  const { classes } = JSON.parse(own) as { classes: ObjectClass[] };
  const starts: number[] = [];
  let start = 0;
  for (const group of metadata.row_groups) {
    starts.push(start);
    start += Number(group.num_rows);
  }
  const topLevel = new Set(metadata.row_groups[0]?.columns.map((c) => c.meta_data!.path_in_schema[0]!));
  const opened: OpenedObjects = {
    classes,
    groups: metadata.row_groups.map((group) => describeGroup(key, group)),
    measurements: [...topLevel].filter((name) => !OTHER.has(name) && !isAbsent(metadata, name)),
  };
  table = { file, metadata, starts, opened };
  return opened;
}

/** Whether no object has a value: micrometres where the pixel size is unknown. Their pages hold a few bytes. */
function isAbsent({ schema, row_groups }: FileMetaData, name: string): boolean {
  const isOptional = schema.find((element) => element.name === name)?.repetition_type === "OPTIONAL";
  if (!isOptional) return false;
  const chunk = row_groups[0]!.columns.find((c) => c.meta_data!.path_in_schema[0] === name)!.meta_data!;
  return Number(chunk.total_uncompressed_size) < Number(chunk.num_values);
}

function describeGroup(key: string, group: RowGroup): ObjectGroupInfo {
  const side = (name: string, limit: "min_value" | "max_value"): number => {
    const column = group.columns.find((c) => c.meta_data!.path_in_schema.join(".") === `bbox.${name}`);
    const value = column?.meta_data?.statistics?.[limit];
    if (typeof value !== "number") throw new Error(`${key} does not state where its objects lie`);
    return value;
  };
  return {
    count: Number(group.num_rows),
    box: {
      x0: side("xmin", "min_value"),
      y0: side("ymin", "min_value"),
      x1: side("xmax", "max_value"),
      y1: side("ymax", "max_value"),
    },
  };
}

/** Rows of a group with some of their columns; neighbouring columns take one request. */
async function readRows(group: number, columns: string[], row?: number): Promise<Record<string, unknown>[]> {
  if (table === undefined) throw new Error("the objects are not open");
  const { file, metadata, starts, opened } = table;
  const rowStart = starts[group]! + (row ?? 0);
  const rowEnd = row === undefined ? rowStart + opened.groups[group]!.count : rowStart + 1;
  return parquetReadObjects({
    file,
    metadata,
    columns,
    rowStart,
    rowEnd,
    geoparquet: false,
    // Outlines stay bytes.
    utf8: false,
  });
}

async function readMarks(group: number): Promise<ObjectMarks> {
  const { classes, groups } = table!.opened;
  const rows = await readRows(group, ["number", "class", "bbox"]);
  const { x0, y0 } = groups[group]!.box;
  const names = new Map(classes.map(({ name }, i) => [name, i]));
  const numbers = new Int32Array(rows.length);
  const kinds = new Uint8Array(rows.length);
  const boxes = new Float32Array(4 * rows.length);
  rows.forEach((row, i) => {
    const box = row.bbox as Record<"xmin" | "ymin" | "xmax" | "ymax", number>;
    numbers[i] = row.number as number;
    kinds[i] = names.get(row.class as string) ?? 0;
    boxes.set([box.xmin - x0, box.ymin - y0, box.xmax - x0, box.ymax - y0], 4 * i);
  });
  return { numbers, classes: kinds, boxes };
}

async function readOutlines(group: number): Promise<ObjectOutlines> {
  const rows = await readRows(group, ["geometry"]);
  const { x0, y0 } = table!.opened.groups[group]!.box;
  return toSegments(
    rows.map((row) => row.geometry as Uint8Array),
    x0,
    y0,
  );
}

async function readColumn(group: number, name: string): Promise<Float32Array<ArrayBuffer>> {
  const rows = await readRows(group, [name]);
  return Float32Array.from(rows, (row) => Number(row[name] ?? Number.NaN));
}

async function readDetails(group: number, index: number): Promise<ObjectDetails> {
  const { measurements } = table!.opened;
  const [row] = await readRows(group, ["id", "class", "number", ...measurements], index);
  return {
    id: String(row!.id),
    className: String(row!.class),
    values: ["number", ...measurements].map((name) => [name, Number(row![name])] as const),
  };
}

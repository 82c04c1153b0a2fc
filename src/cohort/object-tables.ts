import { createReadStream, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parse } from "csv-parse";
import { writeFileAtomic } from "./cohort-directory.ts";
import { ParquetFile } from "./parquet.ts";
import type { Column } from "./table.ts";

/** Columns of the objects in `measurements.csv`, with their names in the table. */
const COLUMNS: readonly (Column & { from?: string })[] = [
  // The folder's name has the id too, but readers turn "007" there into a number.
  { name: "slide_id", type: "text" },
  { name: "object_id", from: "id", type: "text" },
  { name: "class", type: "text" },
  { name: "number", type: "whole" },
  { name: "area_px", type: "whole" },
  { name: "area_um2", type: "number" },
  { name: "centroid_x_px", type: "number" },
  { name: "centroid_y_px", type: "number" },
  { name: "centroid_x_um", type: "number" },
  { name: "centroid_y_um", type: "number" },
  { name: "box_x_px", type: "number" },
  { name: "box_y_px", type: "number" },
  { name: "box_width_px", type: "number" },
  { name: "box_height_px", type: "number" },
  { name: "perimeter_um", type: "number" },
  { name: "circularity", type: "number" },
  { name: "major_axis_um", type: "number" },
  { name: "minor_axis_um", type: "number" },
  { name: "eccentricity", type: "number" },
  { name: "orientation_deg", type: "number" },
];

/** Records the job each folder was made from. Readers of the table skip names that begin with a dot. */
const MADE = ".made.json";

/** Folder name of an id, escaped as Hive does; readers decode it. */
export function partitionName(id: string): string {
  const escaped = encodeURIComponent(id).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `id=${escaped}`;
}

/**
 * Updates `objects/id=<id>/part.parquet`: removes folders of slides that are not done, keeps those that were made
 * from the same job, and makes the missing ones.
 * @param done each slide and the directory of its job's results
 */
export async function writeObjectTables(
  root: string,
  done: readonly { id: string; job: string; directory: string }[],
  signal?: AbortSignal,
): Promise<void> {
  const made = readMade(join(root, MADE));
  const wanted = new Map(done.map((slide) => [partitionName(slide.id), slide]));
  const there = existsSync(root) ? readdirSync(root).filter((name) => name.startsWith("id=")) : [];
  let changed = false;
  for (const name of there) {
    if (wanted.has(name)) continue;
    rmSync(join(root, name), { recursive: true, force: true });
    changed = made.delete(name) || changed;
  }
  const present = new Set(there);
  const missing = [...wanted].filter(([name, { job }]) => made.get(name) !== job || !present.has(name));
  for (const [name, { id, job, directory }] of missing) {
    signal?.throwIfAborted();
    const measurements = join(directory, "measurements.csv");
    if (!existsSync(measurements)) continue;
    mkdirSync(join(root, name), { recursive: true });
    await writeObjects(join(root, name, "part.parquet"), id, measurements, signal);
    made.set(name, job);
    changed = true;
  }
  // If the process dies before this, the folders are made again.
  if (changed) writeFileAtomic(join(root, MADE), JSON.stringify(Object.fromEntries(made)));
}

/** Writes one row for each object of a slide, as a stream. */
export async function writeObjects(
  file: string,
  id: string,
  measurements: string,
  signal?: AbortSignal,
): Promise<void> {
  const table = new ParquetFile(file, COLUMNS);
  try {
    const rows = createReadStream(measurements).pipe(parse({ relax_column_count: false, bom: true }));
    let at: number[] | undefined;
    let level = 0;
    for await (const record of rows as AsyncIterable<string[]>) {
      if (at === undefined) {
        level = record.indexOf("level");
        at = COLUMNS.map(({ name, from }) => record.indexOf(from ?? name));
        continue;
      }
      if (record[level] !== "object") continue;
      signal?.throwIfAborted();
      table.add(at.map((i, n) => (n === 0 ? id : record[i] || undefined)));
    }
    table.finish();
  } catch (error) {
    table.abort();
    throw error;
  }
}

function readMade(file: string): Map<string, string> {
  try {
    return new Map(Object.entries(JSON.parse(readFileSync(file, "utf8")) as Record<string, string>));
  } catch {
    return new Map();
  }
}

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { parse } from "csv-parse/sync";
import { type CohortSnapshot, parseSnapshot } from "../../cohort/cohort-snapshot.ts";
import { tableColumns } from "../../cohort/table.ts";
import { JobError } from "../../orchestrator/errors.ts";

/** The table of a cohort, as the page shows it. */
export interface ServedCohort {
  name: string;
  model: string;
  columns: { name: string; isNumber: boolean }[];
  rows: (string | number | null)[][];
  /** Indexes of the rows that have results. */
  withResults: number[];
}

export interface OpenedCohort {
  table: ServedCohort;
  /** Directory of the results of a row, and its scan as the manifest names it. */
  scanOf(row: number): { results: string; source: string } | undefined;
}

/** Reads the tables of a cohort's directory; undefined if it is none. @throws {JobError} */
export function openCohort(directory: string): OpenedCohort | undefined {
  const snapshotFile = path.join(directory, "cohort.json");
  if (!existsSync(snapshotFile)) return undefined;
  const tableFile = path.join(directory, "cohort.csv");
  if (!existsSync(tableFile))
    throw new JobError(`${directory} has no cohort.csv yet: run the cohort, or tilewright cohort status`);
  const snapshot = readSnapshot(snapshotFile);
  const [head, ...lines] = parse(readFileSync(tableFile)) as string[][];
  if (head === undefined) throw new JobError(`${tableFile} is empty: run the cohort again`);
  const types = new Map(tableColumns(snapshot).map(({ name, type }) => [name, type]));
  const columns = head.map((name) => ({ name, isNumber: (types.get(name) ?? "text") !== "text" }));
  const rows = lines.map((line) => line.map((cell, i) => toCell(cell, columns[i]!.isNumber)));
  const at = (name: string) => head.indexOf(name);
  const jobOf = (row: number) => {
    const job = lines[row]?.[at("job")] ?? "";
    return lines[row]?.[at("status")] === "done" && /^[\w-]+$/.test(job) ? job : undefined;
  };
  const sources = new Map(snapshot.rows.map(({ id, source }) => [id, source]));
  // A directory that was moved keeps its jobs inside.
  const inside = path.join(directory, "jobs");
  const store = existsSync(snapshot.store) ? snapshot.store : inside;
  return {
    table: {
      name: `Cohort ${path.basename(path.resolve(directory))}`,
      model: `${snapshot.model.name} ${snapshot.model.version}`,
      columns,
      rows,
      withResults: lines.flatMap((_, row) => (jobOf(row) === undefined ? [] : [row])),
    },
    scanOf(row) {
      const job = jobOf(row);
      const source = sources.get(lines[row]?.[at("id")] ?? "");
      return job === undefined || source === undefined
        ? undefined
        : { results: path.join(store, job), source };
    },
  };
}

function readSnapshot(file: string): CohortSnapshot {
  try {
    return parseSnapshot(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new JobError(`${file} is damaged, or another version of Tilewright wrote it`, { cause });
  }
}

function toCell(cell: string, isNumber: boolean): string | number | null {
  if (cell === "") return null;
  const value = Number(cell);
  return isNumber && Number.isFinite(value) ? value : cell;
}

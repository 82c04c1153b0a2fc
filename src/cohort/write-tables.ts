import { basename, join } from "node:path";
import { type CohortDirectory, writeFileAtomic } from "./cohort-directory.ts";
import type { CohortSnapshot } from "./cohort-snapshot.ts";
import type { Flag } from "./flags.ts";
import type { KeyState } from "./journal.ts";
import { writeObjectTables } from "./object-tables.ts";
import { ParquetFile } from "./parquet.ts";
import { reportHtml } from "./report.ts";
import { linkScans } from "./scan-links.ts";
import type { MetricsCache } from "./slide-metrics.ts";
import { type RowOutcome, tableCells, tableColumns, toCsv } from "./table.ts";
import { readThumbnailPng } from "./thumbnails.ts";

/** The status of each row. Done requires that the results exist, whatever the journal says. */
export function toOutcomes(
  { rows, keys }: Pick<CohortSnapshot, "rows" | "keys">,
  states: ReadonlyMap<string, KeyState>,
  metrics: MetricsCache,
  sourceFlags: ReadonlyMap<string, readonly Flag[]> = new Map(),
): RowOutcome[] {
  return rows.map((row, i) => {
    const key = keys[i]!;
    const state = states.get(key);
    if (state?.status === "failed") {
      return { row, status: "failed", code: state.code, reason: state.reason };
    }
    if (state?.status === "done") {
      const found = metrics.get(state.job);
      if (found) {
        const { job, forecast } = state;
        return { row, status: "done", job, metrics: found, forecast, flags: sourceFlags.get(key) };
      }
    }
    return { row, status: state?.status === "running" ? "running" : "pending" };
  });
}

/**
 * Writes `cohort.csv`, `cohort.parquet` and `objects/`. Each file is replaced atomically, and objects are written
 * before the rows that refer to them.
 */
export async function writeTables(
  directory: CohortDirectory,
  snapshot: CohortSnapshot,
  outcomes: readonly RowOutcome[],
  metrics: MetricsCache,
  signal?: AbortSignal,
): Promise<void> {
  const done = outcomes.flatMap(({ row, status, job }) =>
    status === "done" && job ? [{ id: row.id, job, directory: metrics.directory(job) }] : [],
  );
  linkScans(directory.path, outcomes, (job) => metrics.directory(job));
  await writeObjectTables(join(directory.path, "objects"), done, signal);
  const columns = tableColumns(snapshot);
  // Readers of the table need not know which scan was running.
  const settled = outcomes.map((o) => (o.status === "running" ? { ...o, status: "pending" as const } : o));
  const cells = tableCells(snapshot, settled);
  writeFileAtomic(join(directory.path, "cohort.csv"), toCsv(columns, cells));
  const table = new ParquetFile(join(directory.path, "cohort.parquet"), columns);
  try {
    for (const row of cells) table.add(row);
    table.finish();
  } catch (error) {
    table.abort();
    throw error;
  }
}

export function writeReport(
  directory: CohortDirectory,
  snapshot: CohortSnapshot,
  outcomes: readonly RowOutcome[],
  metrics: MetricsCache,
): void {
  const { model } = snapshot;
  const about = {
    title: `Cohort ${basename(directory.path)}`,
    model: `${model.name} ${model.version}`,
    at: new Date().toISOString().slice(0, 16).replace("T", " "),
  };
  const html = reportHtml(about, snapshot, outcomes, (job) => readThumbnailPng(metrics.directory(job)));
  writeFileAtomic(join(directory.path, "report.html"), html);
}

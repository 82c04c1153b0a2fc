import { lstatSync, mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { join, relative } from "node:path";
import type { RowOutcome } from "./table.ts";

/** Folder of a cohort's directory that holds the results of each scan under its name. */
export const SCANS = "scans";

/**
 * Keeps `scans/<id>` as a link to the results of each done scan. Results lie under the ids of their jobs, so that
 * cohorts can share them. Links of other scans are removed; other files stay.
 */
export function linkScans(
  directory: string,
  outcomes: readonly RowOutcome[],
  placeOf: (job: string) => string,
): void {
  const root = join(directory, SCANS);
  const wanted = new Map(
    outcomes.flatMap(({ row, status, job }) =>
      status === "done" && job ? [[row.id, placeOf(job)] as const] : [],
    ),
  );
  if (wanted.size > 0) mkdirSync(root, { recursive: true });
  for (const name of existing(root)) {
    const link = join(root, name);
    if (lstatSync(link).isSymbolicLink() && readlinkSync(link) !== target(root, wanted.get(name)))
      rmSync(link);
  }
  const existingNames = new Set(existing(root));
  for (const [id, place] of wanted) {
    if (existingNames.has(id)) continue;
    try {
      symlinkSync(target(root, place)!, join(root, id), process.platform === "win32" ? "junction" : "dir");
    } catch {
      // Some file systems have no links. The table still says where the results are.
      return;
    }
  }
}

function existing(root: string): string[] {
  try {
    return readdirSync(root);
  } catch {
    return [];
  }
}

/** Relative, so that a cohort's directory can be moved; Windows requires absolute paths. */
function target(root: string, place: string | undefined): string | undefined {
  if (place === undefined) return undefined;
  return process.platform === "win32" ? place : relative(root, place);
}

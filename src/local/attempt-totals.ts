import { readFileSync } from "node:fs";
import { join } from "node:path";
import { emptyStatistics, type MapStatistics } from "../orchestrator/map/map-and-merge.ts";
import type { RunDirectory } from "./run-directory.ts";
import type { WorkStore } from "./work-store.ts";

/** Sums over the attempts of a job, kept in its work directory. */
export interface AttemptTotals {
  attempts: number;
  bytesRead: number;
  map: MapStatistics;
}

const TOTALS_FILE = "attempts.json";

/** @returns the totals of earlier attempts, or zeros if there are none */
export function readAttemptTotals(directory: RunDirectory): AttemptTotals {
  try {
    if (directory.resuming)
      return JSON.parse(readFileSync(join(directory.work, TOTALS_FILE), "utf8")) as AttemptTotals;
  } catch {
    // The last attempt was killed before it wrote them. Its statistics are lost, its chunks are not.
  }
  return { attempts: 0, bytesRead: 0, map: emptyStatistics() };
}

/** Ignores errors: a full disk must not hide the error that ended the attempt. */
export async function writeAttemptTotals(work: WorkStore, totals: AttemptTotals): Promise<void> {
  await work.put(TOTALS_FILE, new TextEncoder().encode(JSON.stringify(totals))).catch(() => {});
}

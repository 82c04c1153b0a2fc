import { emptyStatistics, type MapStatistics } from "../orchestrator/map/map-and-merge.ts";
import type { Workspace } from "./workspace.ts";

/** Sums over the attempts of a job, kept with its work. */
export interface AttemptTotals {
  attempts: number;
  bytesRead: number;
  map: MapStatistics;
}

const TOTALS_FILE = "attempts.json";

/** @returns the totals of earlier attempts, or zeros if there are none */
export async function readAttemptTotals({ store, resuming }: Workspace): Promise<AttemptTotals> {
  const stored = resuming ? await store.get(TOTALS_FILE).catch(() => undefined) : undefined;
  try {
    if (stored) return JSON.parse(new TextDecoder().decode(stored.bytes)) as AttemptTotals;
  } catch {
    // The last attempt was killed before it wrote them. Its statistics are lost, its chunks are not.
  }
  return { attempts: 0, bytesRead: 0, map: emptyStatistics() };
}

/** Ignores errors: a full disk must not hide the error that ended the attempt. */
export async function writeAttemptTotals({ store }: Workspace, totals: AttemptTotals): Promise<void> {
  await store.put(TOTALS_FILE, new TextEncoder().encode(JSON.stringify(totals))).catch(() => {});
}

import type { TaskReport } from "../../shared/ledger-port.ts";

/** A report as a row of a ledger has it: windows, bytes read, time in the model, merging. A slide has a row for each of hundreds of shards. */
export function storeReport({ windows, bytesRead, modelMilliseconds, merge }: TaskReport): string {
  const values = [windows, bytesRead, modelMilliseconds, merge];
  return JSON.stringify(values.slice(0, values.findLastIndex((value) => value !== undefined) + 1));
}

/** Of `storeReport`, but for what ran the model, which a ledger keeps once. */
export function readStoredReport(text: string): TaskReport {
  const [windows, bytesRead, modelMilliseconds, merge] = JSON.parse(text);
  return {
    windows: windows ?? undefined,
    bytesRead: bytesRead ?? undefined,
    modelMilliseconds: modelMilliseconds ?? undefined,
    merge: merge ?? undefined,
  };
}

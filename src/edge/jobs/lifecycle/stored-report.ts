import type { TaskReport } from "../../shared/ledger-port.ts";

/** Encodes a report for a row of a ledger, short because a slide has hundreds: [windows, bytes read, inference time, merging]. */
export function storeReport({ windows, bytesRead, modelMilliseconds, merge }: TaskReport): string {
  const values = [windows, bytesRead, modelMilliseconds, merge];
  return JSON.stringify(values.slice(0, values.findLastIndex((value) => value !== undefined) + 1));
}

/** Decodes a report of `storeReport`. The runtime is not in it: a ledger stores it once. */
export function readStoredReport(text: string): TaskReport {
  const [windows, bytesRead, modelMilliseconds, merge] = JSON.parse(text);
  return {
    windows: windows ?? undefined,
    bytesRead: bytesRead ?? undefined,
    modelMilliseconds: modelMilliseconds ?? undefined,
    merge: merge ?? undefined,
  };
}

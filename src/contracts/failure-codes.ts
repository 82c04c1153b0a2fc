/** Why a scan of a cohort has no results; documented in docs/cohorts.md. */
export const FAILURE_CODES = [
  "missing",
  "unreadable",
  "changed",
  "storage",
  "no-tissue",
  "refused",
  "backend",
  "busy",
  "unexpected",
] as const;
export type FailureCode = (typeof FAILURE_CODES)[number];

/** Codes that do not concern the scan itself: the next run retries these scans automatically. */
export const TRANSIENT_CODES: ReadonlySet<string> = new Set<FailureCode>([
  "storage",
  "backend",
  "busy",
  "changed",
]);

export interface ScanFailure {
  code: FailureCode;
  /** One sentence, without paths of the machine. */
  reason: string;
}

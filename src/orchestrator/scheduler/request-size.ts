/** Fraction of a backend's share of the remaining windows that one request takes, so that all backends end together. */
const TAIL_SHARE = 0.25;

export interface RequestSizeInput {
  /** Maximum of the backend. */
  windowsPerRequest: number;
  /** Of the backend; undefined before its first response. */
  msPerWindow: number | undefined;
  /** All backends together. */
  windowsPerMs: number;
  /** Windows of the job without a result. */
  windowsLeft: number;
  /** Requests start and end at multiples of this. */
  batchSize: number;
}

/**
 * Windows for the next request of a backend. Requests shrink towards the end of a job, so that no backend waits for a
 * long one; the first request of a backend, whose speed is unknown, is a quarter of its maximum.
 */
export function requestSize(input: RequestSizeInput): number {
  const { windowsPerRequest, msPerWindow, windowsPerMs, windowsLeft, batchSize } = input;
  const share =
    msPerWindow === undefined
      ? windowsPerRequest / 4
      : ((windowsLeft / windowsPerMs) * TAIL_SHARE) / msPerWindow;
  const windows = Math.max(1, Math.min(windowsPerRequest, Math.floor(share)));
  return Math.max(1, Math.floor(windows / batchSize)) * batchSize;
}

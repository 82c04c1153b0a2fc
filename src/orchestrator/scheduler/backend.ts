import type { Segmenter, SegmenterInfo } from "../../inference/segmenter.ts";

/** What the scheduler knows of a backend. */
export interface BackendLimits {
  name: string;
  /** Requests at a time; "auto" adapts to what the backend accepts. */
  concurrency: number | "auto";
  /** Maximum of one request. */
  windowsPerRequest: number;
  /** Requests that take longer are aborted and retried. Undefined: in this process, where no request gets lost. */
  timeoutMs?: number;
}

/** Runs the model on windows: this machine, an edge function, a runner. */
export interface Backend extends BackendLimits {
  segmenter: Segmenter;
}

/** What the scheduler counted for one backend; fields of `run.json`. */
export interface BackendCounts {
  /** Windows whose first result came from this backend. */
  windows: number;
  /** Windows that another backend had delivered before. */
  wastedWindows: number;
  requests: number;
  /** Hedged requests among `requests`: repeats of what another backend had not answered yet. */
  hedges: number;
  /** Failed requests, by `FailureClass.code`. */
  errors: Record<string, number>;
  /** Why the backend was disabled. */
  expelled?: string;
}

/** What a backend did in one job; an entry of `run.json`. */
export interface BackendReport extends SegmenterInfo, BackendCounts {
  name: string;
  windowsPerSecond: number;
  /** Time inside the model in this process, summed over sessions. */
  modelSeconds?: number;
  bytesSent?: number;
  bytesReceived?: number;
}

/** Snapshots the segmenter's counters, so that the report covers one job only. */
export function startReport({
  name,
  segmenter,
}: Backend): (counts: BackendCounts, seconds: number) => BackendReport {
  const { bytesSent = 0, bytesReceived = 0 } = segmenter.traffic ?? {};
  const runMilliseconds = segmenter.runMilliseconds ?? 0;
  return (counts, seconds) => ({
    name,
    ...segmenter.info,
    ...counts,
    windowsPerSecond: seconds > 0 ? counts.windows / seconds : 0,
    ...(segmenter.runMilliseconds !== undefined && {
      modelSeconds: (segmenter.runMilliseconds - runMilliseconds) / 1000,
    }),
    ...(segmenter.traffic && {
      bytesSent: segmenter.traffic.bytesSent - bytesSent,
      bytesReceived: segmenter.traffic.bytesReceived - bytesReceived,
    }),
  });
}

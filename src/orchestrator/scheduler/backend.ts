import type { Segmenter, SegmenterInfo } from "../../inference/segmenter.ts";
import type { Member, MemberReport } from "./scheduler.ts";

/** A member of a fleet and what it runs the model with. */
export interface Backend extends Member {
  segmenter: Segmenter;
}

/** What a backend did, for `run.json`. */
export interface BackendReport extends SegmenterInfo, MemberReport {
  name: string;
  windowsPerSecond: number;
  /** Time inside the model, added up over its sessions, where it runs here. */
  modelSeconds?: number;
  bytesSent?: number;
  bytesReceived?: number;
}

/** Snapshots what a backend counts, so that a report tells of one job only. */
export function startReport({
  name,
  segmenter,
}: Backend): (report: MemberReport, seconds: number) => BackendReport {
  const { bytesSent = 0, bytesReceived = 0 } = segmenter.traffic ?? {};
  const runMilliseconds = segmenter.runMilliseconds ?? 0;
  return (report, seconds) => ({
    name,
    ...segmenter.info,
    ...report,
    windowsPerSecond: seconds > 0 ? report.windows / seconds : 0,
    ...(segmenter.runMilliseconds !== undefined && {
      modelSeconds: (segmenter.runMilliseconds - runMilliseconds) / 1000,
    }),
    ...(segmenter.traffic && {
      bytesSent: segmenter.traffic.bytesSent - bytesSent,
      bytesReceived: segmenter.traffic.bytesReceived - bytesReceived,
    }),
  });
}

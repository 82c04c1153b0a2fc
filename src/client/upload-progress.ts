export type UploadStage =
  | "uploading"
  | "waiting for the job"
  | "planning"
  | "segmenting"
  | "merging"
  | "writing outputs"
  | "downloading"
  | "done";

export type UploadEvent =
  | { type: "stage"; stage: UploadStage }
  /** Bytes of the scan that were uploaded, or of the results that were downloaded. */
  | {
      type: "transfer";
      bytesDone: number;
      bytesTotal: number;
      bytesPerSecond: number;
      secondsLeft: number;
    }
  | { type: "job"; job: string; source: string }
  | {
      type: "progress";
      windowsDone: number;
      windowsTotal: number;
      windowsPerSecond: number;
      secondsLeft: number;
    }
  /** The job has not progressed for a while. `reason`: why the service is unhealthy, if it is. */
  | { type: "quiet"; job: string; seconds: number; reason: string | undefined }
  /** A request failed and will be retried. */
  | { type: "retry"; reason: string; seconds: number };

export type UploadListener = (event: UploadEvent) => void;

/** Reports transferred bytes. `before` bytes were there from the start and do not count for the rate. */
export function reportBytes(
  bytesTotal: number,
  before: number,
  tell: UploadListener,
): (bytes: number) => void {
  const started = performance.now();
  let bytesDone = before;
  return (bytes) => {
    bytesDone += bytes;
    const bytesPerSecond = ((bytesDone - before) / Math.max(1, performance.now() - started)) * 1000;
    const secondsLeft = (bytesTotal - bytesDone) / bytesPerSecond;
    tell({ type: "transfer", bytesDone, bytesTotal, bytesPerSecond, secondsLeft });
  };
}

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
  /** Bytes of the scan on their way up, or of the results on their way down. */
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
  /** Nothing of the job has moved; `reason`: what the service says of itself, where it is not well. */
  | { type: "quiet"; job: string; seconds: number; reason: string | undefined }
  /** Something failed that is tried again. */
  | { type: "retry"; reason: string; seconds: number };

export type UploadListener = (event: UploadEvent) => void;

/** Tells of bytes as they are done; `before` of them were there from the start and say nothing about the rate. */
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

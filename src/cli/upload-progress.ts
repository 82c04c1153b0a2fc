import { barPrinter, duration } from "./progress.ts";

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

/** As `segment` shows its progress: a bar on a terminal, lines elsewhere, one event a line with `json`; on stderr. */
export function uploadPrinter(json: boolean, stream: NodeJS.WriteStream = process.stderr): UploadListener {
  if (json) return (event) => void stream.write(`${JSON.stringify(event)}\n`);
  const { line, bar } = barPrinter(stream);
  return (event) => {
    switch (event.type) {
      case "stage":
        return line(event.stage);
      case "job":
        return line(`job ${event.job}`);
      case "quiet": {
        const why =
          event.reason === undefined
            ? "the service is well, so others may come first"
            : `the service is not well: ${event.reason}`;
        return line(`nothing has moved for ${duration(event.seconds)}; ${why}`);
      }
      case "retry":
        return line(`${event.reason}; trying again in ${duration(event.seconds)}`);
      case "transfer": {
        const { bytesDone, bytesTotal, bytesPerSecond, secondsLeft } = event;
        const rate = `${(bytesPerSecond / 1e6).toFixed(1)} MB/s, ${duration(secondsLeft)} left`;
        return bar(bytesDone, bytesTotal, `${megabytes(bytesDone)}/${megabytes(bytesTotal)} MB, ${rate}`);
      }
      case "progress": {
        const { windowsDone, windowsTotal, windowsPerSecond, secondsLeft } = event;
        const rate = `${windowsPerSecond.toFixed(1)}/s, ${duration(secondsLeft)} left`;
        return bar(windowsDone, windowsTotal, `${windowsDone}/${windowsTotal} windows, ${rate}`);
      }
    }
  };
}

/** Tells of bytes as they are done; `before` of them were there from the start and say nothing about the rate. */
export function tellBytes(bytesTotal: number, before: number, tell: UploadListener): (bytes: number) => void {
  const started = performance.now();
  let bytesDone = before;
  return (bytes) => {
    bytesDone += bytes;
    const bytesPerSecond = ((bytesDone - before) / Math.max(1, performance.now() - started)) * 1000;
    const secondsLeft = (bytesTotal - bytesDone) / bytesPerSecond;
    tell({ type: "transfer", bytesDone, bytesTotal, bytesPerSecond, secondsLeft });
  };
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

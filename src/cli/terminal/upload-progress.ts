import type { UploadListener } from "../../client/upload-progress.ts";
import { duration } from "../../local/format.ts";
import { createBarPrinter } from "./progress.ts";

/** Prints progress to stderr, as `segment` does: a bar on a terminal, lines elsewhere; with `json` one event per line. */
export function createUploadPrinter(
  json: boolean,
  stream: NodeJS.WriteStream = process.stderr,
): UploadListener {
  if (json) return (event) => void stream.write(`${JSON.stringify(event)}\n`);
  const { line, bar } = createBarPrinter(stream);
  return (event) => {
    switch (event.type) {
      case "stage":
        return line(event.stage);
      case "job":
        return line(`job ${event.job}`);
      case "quiet": {
        const why =
          event.reason === undefined
            ? "the service is healthy: other jobs may come first"
            : `the service is not healthy: ${event.reason}`;
        return line(`no progress for ${duration(event.seconds)}; ${why}`);
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

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

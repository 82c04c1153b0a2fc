import type { UploadListener } from "../../client/upload-progress.ts";
import { duration } from "../../local/format.ts";
import { createBarPrinter } from "./progress.ts";

/** As `segment` shows its progress: a bar on a terminal, lines elsewhere, one event a line with `json`; on stderr. */
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

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

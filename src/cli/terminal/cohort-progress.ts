import type { CohortProgress } from "../../cohort/cohort-options.ts";
import { duration } from "../../local/format.ts";
import { createBarPrinter } from "./progress.ts";

const KINDS: Record<string, string> = {
  manifest: "of the manifest",
  folder: "found in the folder, in the order of their paths",
  pattern: "fit the pattern, in the order of their paths",
  prefix: "found below the prefix, in the order of their keys",
};

/**
 * Prints the outcome of each scan, and below it the progress of all, with rate and time left.
 * @param now clock in milliseconds
 */
export function cohortPrinter(
  stream: NodeJS.WriteStream = process.stderr,
  now: () => number = () => performance.now(),
): (event: CohortProgress) => void {
  const { line, bar } = createBarPrinter(stream);
  const pace = new CohortPace(now);
  return (event) => {
    pace.hear(event);
    switch (event.type) {
      case "cohort":
        return line(
          `${event.rows} scans ${KINDS[event.kind] ?? ""}: ${event.done} done, ${event.failed} failed, ${event.toDo} to do`,
        );
      case "backend":
        return line(`going on without ${event.backend}: ${event.reason}`);
      case "windows":
        return bar(pace.windowsDone, pace.windowsInSight, pace.text());
      case "slide": {
        const text = slideLine(event);
        return text === undefined ? undefined : line(text);
      }
    }
  };
}

function slideLine(event: Extract<CohortProgress, { type: "slide" }>): string | undefined {
  switch (event.state) {
    case "done": {
      const how = event.found
        ? "was done already"
        : `${event.windows} windows in ${event.seconds < 10 ? `${event.seconds.toFixed(1)} s` : duration(event.seconds)}`;
      const warned = event.warnings?.map((warning) => `\n  warning: ${warning}`).join("") ?? "";
      return `${event.id}: ${how} (${event.left} to do)${warned}`;
    }
    case "failed":
      return `${event.id}: ${event.code}: ${event.reason} (${event.left} to do)`;
    case "changed":
      return `${event.id}: the source changed since it was done, it is done again`;
    case "uploading":
      return `${event.id}: uploading`;
    default:
      return undefined;
  }
}

/** Rate and remaining work of a cohort: a scan that is not opened yet counts as the mean of those that are. */
export class CohortPace {
  readonly #now: () => number;
  readonly #scans = new Map<string, { done: number; total: number }>();
  #toDo = 0;
  #finished = 0;
  /** Time of the first progress event, and the windows that an earlier run had done by then. */
  #first: { at: number; done: number } | undefined;
  #current = "";

  constructor(now: () => number) {
    this.#now = now;
  }

  hear(event: CohortProgress): void {
    if (event.type === "cohort") this.#toDo = event.toDo;
    if (event.type === "windows") {
      this.#current = event.id;
      this.#scans.set(event.id, { done: event.windowsDone, total: event.windowsTotal });
      this.#first ??= { at: this.#now(), done: event.windowsDone };
    }
    if (event.type === "slide" && (event.state === "done" || event.state === "failed")) this.#finished++;
  }

  get windowsDone(): number {
    return [...this.#scans.values()].reduce((n, { done }) => n + done, 0);
  }

  /** Windows of all scans to do, estimated by the mean of those that were opened. */
  get windowsInSight(): number {
    const seen = [...this.#scans.values()].reduce((n, { total }) => n + total, 0);
    const unseen = Math.max(0, this.#toDo - Math.max(this.#finished, this.#scans.size));
    return Math.round(seen + (unseen * seen) / Math.max(1, this.#scans.size));
  }

  text(): string {
    const { done, total } = this.#scans.get(this.#current) ?? { done: 0, total: 0 };
    return `${this.#finished}/${this.#toDo} scans; ${this.#current} ${done}/${total} windows${this.#rate()}`;
  }

  /** Empty until a window has been timed. */
  #rate(): string {
    const { at, done } = this.#first ?? { at: this.#now(), done: 0 };
    const seconds = (this.#now() - at) / 1000;
    const timed = this.windowsDone - done;
    if (seconds <= 0 || timed <= 0) return "";
    const rate = timed / seconds;
    const left = (this.windowsInSight - this.windowsDone) / rate;
    return `; ${rate.toFixed(1)} windows/s, ${duration(left)} left`;
  }
}

import { duration } from "../../local/format.ts";
import type { PlannedOrientation } from "../../orchestrator/job-plan.ts";
import type { ProgressListener } from "../../portable/progress.ts";
import type { TissueFinding } from "../../tiling/pixels/tissue-mask.ts";

/** Prints progress to stderr: a bar on a terminal, a line every few seconds elsewhere; with `json` one event per line. */
export function progressPrinter(
  json: boolean,
  stream: NodeJS.WriteStream = process.stderr,
): ProgressListener {
  if (json) return (event) => void stream.write(`${JSON.stringify(event)}\n`);
  const { line, bar } = createBarPrinter(stream);
  return (event) => {
    if (event.type === "stage") return line(event.stage);
    if (event.type === "backend") return line(`going on without ${event.backend}: ${event.reason}`);
    if (event.type === "plan") {
      const tissue = tissueText(event);
      const rest = event.windowsToDo === event.windows ? "" : `, ${event.windowsToDo} still to do`;
      if (event.orientation) line(orientationLine(event.orientation));
      line(
        `${event.windows} windows at level ${event.level} (${Number(event.mpp.toPrecision(3))} µm${magnified(event.magnification)})${tissue && `, ${tissue}`}${rest}`,
      );
      for (const warning of event.warnings) line(`warning: ${warning}`);
      return;
    }
    const { windowsDone, windowsTotal, windowsPerSecond, secondsLeft } = event;
    const text = `${windowsDone}/${windowsTotal} windows, ${windowsPerSecond.toFixed(1)}/s, ${duration(secondsLeft)} left`;
    bar(windowsDone, windowsTotal, text);
  };
}

/** The share of a region that is tissue, and which background is excluded. Empty without a tissue mask. */
export function tissueText({
  tissueFraction,
  tissue,
}: {
  tissueFraction?: number;
  tissue?: TissueFinding;
}): string {
  if (tissueFraction === undefined) return "";
  if (tissue?.background === "none") return "no background found for certain, so all of it";
  const share = `tissue ${(tissueFraction * 100).toFixed(0)} %`;
  return tissue ? `${share} (${tissue.background} background left out)` : share;
}

/** Degrees below which a volume's axes count as the patient's. */
const STRAIGHT = 0.5;

/** The orientation of a volume, and how it is turned for the model. */
export function orientationLine({ source, model, given, obliqueDegrees = 0 }: PlannedOrientation): string {
  const turned =
    source === model
      ? `orientation ${source}, as the model's`
      : `orientation ${source}, turned to the model's ${model}`;
  const oblique =
    obliqueDegrees < STRAIGHT
      ? ""
      : `; its axes are ${obliqueDegrees.toFixed(0)}° off the patient's: the nearest are taken`;
  return `${turned}${given ? " (given with --orientation)" : ""}${oblique}`;
}

/** The magnification of pixels that are coarser than the model's; empty otherwise. */
export function magnified(factor: number): string {
  return factor > 1 ? `, magnified ${Number(factor.toPrecision(3))} times` : "";
}

export interface BarPrinter {
  line(text: string): void;
  /** Redraws the bar. Skips updates that come too soon, but never the last one. */
  bar(done: number, total: number, text: string): void;
}

/**
 * Prints lines, and a bar below them on a terminal; elsewhere the bar's text becomes a line every few seconds.
 *
 * Written by hand: 30 lines, for which cli-progress would be one more dependency.
 */
export function createBarPrinter(stream: NodeJS.WriteStream): BarPrinter {
  const drawn = stream.isTTY;
  const interval = drawn ? 100 : 5000;
  let last = Number.NEGATIVE_INFINITY;
  let open = false;
  const line = (text: string) => {
    stream.write(`${open ? "\r\x1b[2K" : ""}${text}\n`);
    open = false;
    // Redraw the bar directly after a line.
    last = Number.NEGATIVE_INFINITY;
  };
  const bar = (done: number, total: number, text: string) => {
    const now = performance.now();
    const finished = done === total;
    if (now - last < interval && !finished) return;
    if (!drawn) line(text);
    last = now;
    if (!drawn) return;
    const share = total === 0 ? 1 : done / total;
    const filled = Math.round(share * 24);
    stream.write(`\r\x1b[2K[${"█".repeat(filled)}${"·".repeat(24 - filled)}] ${text}`);
    open = true;
    if (finished) line(`[${"█".repeat(24)}] ${text}`);
  };
  return { line, bar };
}

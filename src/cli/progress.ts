export type ProgressEvent =
  | { type: "stage"; stage: "opening" | "planning" | "segmenting" | "writing outputs" | "done" }
  | {
      type: "plan";
      windows: number;
      windowsToDo: number;
      level: number;
      mpp: number;
      tissueFraction?: number;
    }
  | {
      type: "progress";
      windowsDone: number;
      windowsTotal: number;
      windowsPerSecond: number;
      secondsLeft: number;
    };

export type ProgressListener = (event: ProgressEvent) => void;

/** A bar on a terminal, one line every few seconds elsewhere; with `json` one event a line. All on stderr. */
export function progressPrinter(
  json: boolean,
  stream: NodeJS.WriteStream = process.stderr,
): ProgressListener {
  if (json) return (event) => void stream.write(`${JSON.stringify(event)}\n`);
  const bar = stream.isTTY;
  const interval = bar ? 100 : 5000;
  let last = 0;
  let open = false;
  const line = (text: string) => {
    stream.write(`${open ? "\r\x1b[2K" : ""}${text}\n`);
    open = false;
  };
  return (event) => {
    if (event.type === "stage") return line(event.stage);
    if (event.type === "plan") {
      const tissue =
        event.tissueFraction === undefined ? "" : `, tissue ${(event.tissueFraction * 100).toFixed(0)} %`;
      const rest = event.windowsToDo === event.windows ? "" : `, ${event.windowsToDo} still to do`;
      return line(
        `${event.windows} windows at level ${event.level} (${event.mpp.toPrecision(3)} µm)${tissue}${rest}`,
      );
    }
    const now = performance.now();
    const finished = event.windowsDone === event.windowsTotal;
    if (now - last < interval && !finished) return;
    last = now;
    const share = event.windowsTotal === 0 ? 1 : event.windowsDone / event.windowsTotal;
    const text = `${event.windowsDone}/${event.windowsTotal} windows, ${event.windowsPerSecond.toFixed(1)}/s, ${duration(event.secondsLeft)} left`;
    if (!bar) return line(text);
    const filled = Math.round(share * 24);
    stream.write(`\r\x1b[2K[${"█".repeat(filled)}${"·".repeat(24 - filled)}] ${text}`);
    open = true;
    if (finished) line(`[${"█".repeat(24)}] ${text}`);
  };
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

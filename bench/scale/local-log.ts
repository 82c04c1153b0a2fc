import type { Durations } from "./platform.ts";
import type { Slide } from "./slides.ts";

/** A log line of an instrumented Worker, with its time. */
export interface Line {
  at: number;
  text: string;
}

interface Task {
  kind: string;
  id: number;
  startedAt: number;
  endedAt: number;
}

/** Tasks from their message to their end in the ledger. */
function parseTasks(lines: readonly Line[]): Task[] {
  const started = new Map<string, number>();
  const tasks: Task[] = [];
  for (const { at, text } of lines) {
    const message = /^message \S+ (\{.*\})$/.exec(text)?.[1];
    const done = /^ledger done (\[.*\])$/.exec(text)?.[1];
    if (message) {
      const body = JSON.parse(message) as { shard?: number; kind?: string; id?: number };
      if (body.shard !== undefined) started.set(`shard ${body.shard}`, at);
      else if (body.kind) started.set(`${body.kind} ${body.id}`, at);
    } else if (done) {
      const [kind, id] = JSON.parse(done) as [string, number];
      tasks.push({ kind, id, startedAt: started.get(`${kind} ${id}`)!, endedAt: at });
    }
  }
  return tasks;
}

/** Durations of tasks in milliseconds; `deliver`: from one task to the next of its phase, `step`: between phases. */
export function measureDurations(
  lines: readonly Line[],
  slide: Slide,
): { tasks: Durations; deliver: number; step: number } {
  const tasks = parseTasks(lines);
  const of = (kind: string) => tasks.filter((task) => task.kind === kind);
  const took = ({ startedAt, endedAt }: Task) => endedAt - startedAt;
  const [shard, window] = line(of("shard").map((task) => [slide.windowsOf[task.id]!, took(task)]));
  const windowsOf = new Map(slide.merges.map((merge) => [merge.id, merge.windows]));
  const merges = of("merge");
  const merged = merges.reduce((n, task) => n + windowsOf.get(task.id)!, 0);
  const gaps = (same: boolean) =>
    tasks.slice(1).flatMap((task, n) => {
      const before = tasks[n]!;
      return (task.kind === before.kind) === same ? [task.startedAt - before.endedAt] : [];
    });
  const deliver = median(gaps(true));
  return {
    deliver,
    // A phase ends with an event and a query of the ledger, and starts with a step that sends.
    step: Math.max(0, (median(gaps(false)) - deliver) / 3),
    tasks: {
      window,
      shard,
      coldStart: 0,
      plan: took(of("plan")[0]!),
      merge: 0,
      mergeWindow: merges.reduce((ms, task) => ms + took(task), 0) / merged,
      finish: 0,
      finishMegapixel: took(of("finish")[0]!) / slide.megapixels,
      spread: 0,
    },
  };
}

/** Counts of a run. */
export function tally(lines: readonly Line[]) {
  const ledgerCallsOf: Record<string, number> = {};
  const r2: Record<string, number> = {};
  let messages = 0;
  for (const { text } of lines) {
    const [what, name] = text.split(" ") as [string, string];
    if (what === "message" && !name.includes("events")) messages++;
    // Called by status queries, and once by each alarm.
    if (what === "ledger" && name !== "status") ledgerCallsOf[name] = (ledgerCallsOf[name] ?? 0) + 1;
    if (what === "r2") r2[name] = (r2[name] ?? 0) + 1;
  }
  const ledgerCalls = Object.values(ledgerCallsOf).reduce((sum, n) => sum + n, 0);
  return {
    messages,
    ledgerCallsOf,
    ledgerCalls,
    r2,
    writes: (r2.put ?? 0) + (r2.createMultipartUpload ?? 0),
  };
}

/** Least-squares line through points. @returns intercept and slope */
function line(points: readonly (readonly [number, number])[]): [number, number] {
  const mean = (of: (point: readonly [number, number]) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean(([a]) => a), mean(([, b]) => b)];
  const slope =
    points.reduce((sum, [a, b]) => sum + (a - x) * (b - y), 0) /
    points.reduce((sum, [a]) => sum + (a - x) ** 2, 0);
  return [y - slope * x, slope];
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

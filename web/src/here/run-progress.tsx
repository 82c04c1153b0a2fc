import type { ProgressEvent } from "../../../src/portable/progress.ts";
import { durationText } from "../controls/duration-text.ts";

/** What a run has told so far. */
export interface RunProgress {
  stage?: string;
  done?: number;
  total?: number;
  secondsLeft?: number;
  warnings?: readonly string[];
}

export function takeProgress(before: RunProgress, event: ProgressEvent): RunProgress {
  if (event.type === "stage") return { ...before, stage: event.stage };
  if (event.type === "plan")
    return { ...before, done: 0, total: event.windowsToDo, warnings: event.warnings };
  if (event.type === "progress") {
    const { windowsDone: done, windowsTotal: total, secondsLeft } = event;
    return { ...before, done, total, secondsLeft };
  }
  return before;
}

export function ProgressReport({ progress }: { progress: RunProgress }) {
  const { stage = "loading the model", done, total, secondsLeft, warnings = [] } = progress;
  return (
    <div aria-live="polite">
      {warnings.map((warning) => (
        <p class="warning" key={warning}>
          {warning}
        </p>
      ))}
      <p>
        {stage}
        {total !== undefined && `: ${done} of ${total} windows`}
        {secondsLeft !== undefined && Number.isFinite(secondsLeft) && `, ${durationText(secondsLeft)} left`}
      </p>
      <progress value={total ? done : undefined} max={total ?? 1} aria-label="Windows that are segmented" />
    </div>
  );
}

import { useRef, useState } from "preact/hooks";
import { JobClient } from "../../../src/client/job-client.ts";
import type { JobStatus } from "../../../src/contracts/job-request.ts";
import { durationText } from "../controls/duration-text.ts";
import { costText, jobProgress, stateText } from "./job-text.ts";

/** The rate is that of the last minute. */
const RATE_MS = 60_000;
const MAX_SAMPLES = 100;

interface JobProgressProps {
  token: string;
  status: JobStatus;
  /** What keeps the page from following the job, a sentence. */
  problem: string | undefined;
}

/** How far a running job is, how fast, and what it has cost; and a way to stop it. */
export function JobProgress({ token, status, problem }: JobProgressProps) {
  const [failure, setFailure] = useState<string>();
  const rate = useRate(status);
  const { windows, estimatedCost } = status;
  const left =
    status.state === "mapping" && windows && rate ? (windows.total - windows.done) / rate : undefined;
  const cancel = async () => {
    try {
      await new JobClient(location.origin, { token }).cancel(status.id);
    } catch (error) {
      setFailure((error as Error).message);
    }
  };
  const parts = [
    stateText(status),
    ...(rate ? [`${rate < 10 ? rate.toFixed(1) : Math.round(rate)} per second`] : []),
    ...(left === undefined ? [] : [`${durationText(left)} left`]),
    ...(estimatedCost ? [costText(estimatedCost)] : []),
  ];
  const shown = failure ?? problem;
  return (
    <div class="running">
      <output>{parts.join(" · ")}</output>
      <progress value={jobProgress(status)} aria-label="Progress of the job" />
      {shown && (
        <p role="alert" class="problem">
          {shown}
        </p>
      )}
      <button type="button" onClick={() => void cancel()}>
        Cancel
      </button>
    </div>
  );
}

/** Windows per second; undefined until it is known. */
function useRate({ windows, state }: JobStatus): number | undefined {
  const samples = useRef<{ at: number; done: number }[]>([]);
  const done = windows?.done;
  const last = samples.current.at(-1);
  if (done !== undefined && done !== last?.done) {
    const now = performance.now();
    samples.current = [...samples.current, { at: now, done }]
      .filter(({ at }) => now - at < RATE_MS)
      .slice(-MAX_SAMPLES);
  }
  const [first, latest] = [samples.current[0], samples.current.at(-1)];
  if (state !== "mapping" || !first || !latest || latest.at <= first.at) return undefined;
  return Math.max(0, (1000 * (latest.done - first.done)) / (latest.at - first.at)) || undefined;
}

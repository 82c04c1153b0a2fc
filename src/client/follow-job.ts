import type { JobState, JobStatus } from "../contracts/job-request.ts";
import { downloadOutputs } from "./download.ts";
import { JobFailedError } from "./errors.ts";
import type { JobClient } from "./job-client.ts";
import { reportBytes, type UploadListener, type UploadStage } from "./upload-progress.ts";
import { watchJob } from "./watch.ts";

/** Follows a job until it ends and reports its progress. */
export async function followJob(
  client: JobClient,
  job: string,
  signal: AbortSignal | undefined,
  onEvent: UploadListener,
): Promise<JobStatus> {
  const onStall = (seconds: number, reason: string | undefined) =>
    onEvent({ type: "quiet", job, seconds, reason });
  return watchJob(client, job, { signal, onStatus: createStatusListener(onEvent), onStall });
}

/** Downloads the results of a job that is done and reports the bytes. @returns the manifest, as text */
export async function fetchResults(
  client: JobClient,
  status: JobStatus,
  { out, force, signal }: { out: string; force?: boolean; signal?: AbortSignal },
  onEvent: UploadListener,
): Promise<string> {
  onEvent({ type: "stage", stage: "downloading" });
  const onBegin = (bytesTotal: number) => reportBytes(bytesTotal, 0, onEvent);
  return downloadOutputs(client, status, { out, force, signal, onBegin });
}

/** @throws {JobFailedError} for a job that ended without results */
export function assertSucceeded({ id, state, error }: JobStatus): void {
  if (state === "failed")
    throw new JobFailedError(`job ${id} failed: ${error?.message ?? "no reason was given"}`);
  if (state === "cancelled") throw new JobFailedError(`job ${id} was cancelled`);
}

const STAGES: Partial<Record<JobState, UploadStage>> = {
  planning: "planning",
  mapping: "segmenting",
  merging: "merging",
  finishing: "writing outputs",
};

/** Turns statuses into events: each stage once, and the windows with their rate and the time left. */
function createStatusListener(onEvent: UploadListener): (status: JobStatus) => void {
  let stage: UploadStage | undefined;
  let first: { done: number; atMs: number } | undefined;
  let last: number | undefined;
  return ({ state, windows }) => {
    const next = STAGES[state];
    if (next && next !== stage) onEvent({ type: "stage", stage: next });
    stage = next ?? stage;
    if (!windows || windows.done === last) return;
    last = windows.done;
    const nowMs = performance.now();
    first ??= { done: windows.done, atMs: nowMs };
    const windowsPerSecond = ((windows.done - first.done) / Math.max(1, nowMs - first.atMs)) * 1000;
    const secondsLeft = (windows.total - windows.done) / windowsPerSecond;
    const { done: windowsDone, total: windowsTotal } = windows;
    onEvent({ type: "progress", windowsDone, windowsTotal, windowsPerSecond, secondsLeft });
  };
}

import { isFinal, type JobStatus } from "../contracts/job-request.ts";
import { pause } from "../storage/retry.ts";
import { ServiceError } from "./errors.ts";
import type { JobClient } from "./job-client.ts";

export interface WatchOptions {
  signal?: AbortSignal;
  onStatus?: (status: JobStatus) => void;
  /** Called every `stallMs` without progress, with the reason if the service is unhealthy. */
  onStall?: (seconds: number, reason: string | undefined) => void;
  /** Default two minutes. */
  stallMs?: number;
  /** First delay between polls when the service sends no events, and before a broken stream is reopened. */
  firstDelayMs?: number;
}

const MAX_DELAY_MS = 10_000;
const STALL_MS = 120_000;

/**
 * Follows a job until it ends: by the service's events, and by polling when those break off or are not sent.
 * @throws {ServiceError} when the service stays unreachable
 */
export async function watchJob(
  client: JobClient,
  job: string,
  options: WatchOptions = {},
): Promise<JobStatus> {
  const { signal, firstDelayMs = 1000 } = options;
  const watch = createStallTimer(client, options);
  try {
    return await streamOrPoll(client, job, { signal, firstDelayMs, onStatus: watch.onStatus });
  } finally {
    watch.stop();
  }
}

async function streamOrPoll(
  client: JobClient,
  job: string,
  {
    signal,
    firstDelayMs,
    onStatus,
  }: Required<Pick<WatchOptions, "firstDelayMs" | "onStatus">> & WatchOptions,
): Promise<JobStatus> {
  let sendsEvents = true;
  let delayMs = firstDelayMs;
  for (;;) {
    if (sendsEvents) {
      try {
        for await (const status of client.events(job)) {
          delayMs = firstDelayMs;
          onStatus(status);
          if (isFinal(status.state)) return status;
        }
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        // Not retryable: the service, or a proxy in between, does not support events.
        if (!error.retryable) sendsEvents = false;
      }
    }
    const status = await client.status(job);
    onStatus(status);
    if (isFinal(status.state)) return status;
    await pause(sendsEvents ? delayMs : 2 * firstDelayMs, signal);
    delayMs = Math.min(MAX_DELAY_MS, 2 * delayMs);
  }
}

/**
 * Reports a job without progress. A queued job and a stuck service look the same from here, so only the time tells.
 */
function createStallTimer(client: JobClient, { onStatus, onStall, stallMs = STALL_MS }: WatchOptions) {
  let last = "";
  let movedAt = Date.now();
  const timer = setInterval(async () => {
    const seconds = Math.round((Date.now() - movedAt) / 1000);
    const reason = await client.health().catch((error: unknown) => (error as Error).message);
    onStall?.(seconds, reason);
  }, stallMs);
  // The timer must not keep the process alive.
  timer.unref();
  return {
    onStatus(status: JobStatus) {
      const now = JSON.stringify(status);
      if (now !== last) {
        last = now;
        movedAt = Date.now();
        timer.refresh();
      }
      onStatus?.(status);
    },
    stop: () => clearInterval(timer),
  };
}

import { isFinal, type JobStatus } from "../contracts/job-request.ts";
import { pause } from "../storage/retry.ts";
import { ServiceError } from "./errors.ts";
import type { JobClient } from "./job-client.ts";

export interface WatchOptions {
  signal?: AbortSignal;
  onStatus?: (status: JobStatus) => void;
  /** Told each time nothing has moved for `stallMs` more, with what the service says of itself where it is not well. */
  onStall?: (seconds: number, reason: string | undefined) => void;
  /** Default two minutes. */
  stallMs?: number;
  /** Between two looks where the service sends no events, and before a broken stream is opened again. */
  firstDelayMs?: number;
}

const MAX_DELAY_MS = 10_000;
const STALL_MS = 120_000;

/**
 * Follows a job until it ends: by the service's events, and by asking where those break off or are not sent.
 * @throws {ServiceError} where the service stays away
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
        // What a later try cannot change: this service, or something on the way to it, lets no events through.
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

/** A job that waits its turn and a service that stands still look the same from here, but for how long they do. */
function createStallTimer(client: JobClient, { onStatus, onStall, stallMs = STALL_MS }: WatchOptions) {
  let last = "";
  let movedAt = Date.now();
  const timer = setInterval(async () => {
    const seconds = Math.round((Date.now() - movedAt) / 1000);
    const reason = await client.health().catch((error: unknown) => (error as Error).message);
    onStall?.(seconds, reason);
  }, stallMs);
  // Who has nothing else to do has ended.
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

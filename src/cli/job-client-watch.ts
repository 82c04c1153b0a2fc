import { isFinal, type JobStatus } from "../orchestrator/job-request.ts";
import type { JobClient } from "./job-client.ts";
import { ServiceError } from "./job-client-errors.ts";
import { pause } from "./job-client-retry.ts";

export interface WatchOptions {
  signal?: AbortSignal;
  onStatus?: (status: JobStatus) => void;
  /** Between two looks where the service sends no events, and before a broken stream is opened again. */
  firstDelayMs?: number;
}

const MAX_DELAY_MS = 10_000;

/**
 * Follows a job until it ends: by the service's events, and by asking where those break off or are not sent.
 * @throws {ServiceError} where the service stays away
 */
export async function watchJob(
  client: JobClient,
  job: string,
  options: WatchOptions = {},
): Promise<JobStatus> {
  const { signal, onStatus, firstDelayMs = 1000 } = options;
  let sendsEvents = true;
  let delayMs = firstDelayMs;
  for (;;) {
    if (sendsEvents) {
      try {
        for await (const status of client.events(job)) {
          delayMs = firstDelayMs;
          onStatus?.(status);
          if (isFinal(status.state)) return status;
        }
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        // What a later try cannot change: this service, or something on the way to it, lets no events through.
        if (!error.retryable) sendsEvents = false;
      }
    }
    const status = await client.status(job);
    onStatus?.(status);
    if (isFinal(status.state)) return status;
    await pause(sendsEvents ? delayMs : 2 * firstDelayMs, signal);
    delayMs = Math.min(MAX_DELAY_MS, 2 * delayMs);
  }
}

import { publicMessage, terminalFailure } from "./job-failure.ts";

const RETRY_SECONDS = 5;
const HEARTBEAT_SECONDS = 100;
/** Heartbeats end after this time: no platform lets a worker run one task for longer. */
const MAX_TASK_SECONDS = 900;

/** A message of a queue, pushed or pulled. */
export interface QueueMessage {
  /** Number of deliveries, this one included. */
  readonly attempts: number;
  ack(): void;
  retry(options: { delaySeconds: number }): void;
}

/** The part of a ledger that concerns one task. */
export interface TaskLedger<Report> {
  /** "skip": the task is done, or the job has ended. */
  claim(): Promise<"run" | "skip">;
  done(report: Report): Promise<void>;
  /** The task is still running; absent where the caller sends heartbeats itself. */
  heartbeat?(): Promise<void>;
  /** Stores why an attempt failed, in case it was the last one. */
  recordFailedAttempt(message: string): Promise<void>;
  /** Ends the job. */
  fail(code: string, message: string): Promise<void>;
}

/**
 * Runs one task from a queue unless it is done, reports it to the ledger, and retries transient errors. A terminal error
 * ends the job.
 */
export async function consumeTask<Report>(
  message: QueueMessage,
  ledger: TaskLedger<Report>,
  work: () => Promise<Report>,
  options: {
    retrySeconds?: number;
    heartbeatSeconds?: number;
    log?: (id: string, error: unknown) => void;
  } = {},
): Promise<void> {
  const { retrySeconds = RETRY_SECONDS, heartbeatSeconds = HEARTBEAT_SECONDS, log = console.error } = options;
  try {
    if ((await ledger.claim()) === "run")
      await ledger.done(await withHeartbeat(ledger, heartbeatSeconds, work));
  } catch (error) {
    const failure = terminalFailure(error);
    if (!failure) {
      await ledger.recordFailedAttempt(publicMessage(error, log));
      return message.retry({ delaySeconds: retrySeconds * message.attempts });
    }
    await ledger.fail(failure.code, failure.message);
  }
  message.ack();
}

/** Sends heartbeats while the work runs, so that the ledger does not dispatch the task again. */
async function withHeartbeat<Report>(
  ledger: Pick<TaskLedger<Report>, "heartbeat">,
  everySeconds: number,
  work: () => Promise<Report>,
): Promise<Report> {
  if (ledger.heartbeat === undefined) return work();
  let left = Math.floor(MAX_TASK_SECONDS / everySeconds);
  const timer = setInterval(() => {
    if (left-- > 0) ledger.heartbeat?.().catch(() => {});
    else clearInterval(timer);
  }, everySeconds * 1000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

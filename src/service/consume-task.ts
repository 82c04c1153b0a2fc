import { finalFailure, reasonOf } from "./job-failure.ts";

const RETRY_SECONDS = 5;

/** A message of a queue, whichever way it came. */
export interface QueueMessage {
  /** How often it was handed out, this time included. */
  readonly attempts: number;
  ack(): void;
  retry(options: { delaySeconds: number }): void;
}

/** What a ledger is told of one task. */
export interface TaskLedger<Report> {
  /** "skip": the task is done, or the job has ended. */
  take(): Promise<"run" | "skip">;
  done(report: Report): Promise<void>;
  /** Keeps why a try failed, for when it was the last. */
  tried(message: string): Promise<void>;
  /** Ends the job. */
  fail(code: string, message: string): Promise<void>;
}

/**
 * One task from a queue: not done twice, told to the ledger, tried again when that may help. What no other try would
 * change ends its job.
 */
export async function consumeTask<Report>(
  message: QueueMessage,
  ledger: TaskLedger<Report>,
  work: () => Promise<Report>,
  options: { retrySeconds?: number; log?: (id: string, error: unknown) => void } = {},
): Promise<void> {
  const { retrySeconds = RETRY_SECONDS, log = console.error } = options;
  try {
    if ((await ledger.take()) === "run") await ledger.done(await work());
  } catch (error) {
    const failure = finalFailure(error);
    if (!failure) {
      await ledger.tried(reasonOf(error, log));
      return message.retry({ delaySeconds: retrySeconds * message.attempts });
    }
    await ledger.fail(failure.code, failure.message);
  }
  message.ack();
}

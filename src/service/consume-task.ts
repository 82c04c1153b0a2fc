import { finalFailure, reasonOf } from "./job-failure.ts";

const RETRY_SECONDS = 5;
const ALIVE_SECONDS = 100;
/** Longer than any platform lets a worker be at one task: what is at it then is not at work. */
const LONGEST_SECONDS = 900;

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
  /** It is still worked on; not needed where somebody else tells so. */
  alive?(): Promise<void>;
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
  options: { retrySeconds?: number; aliveSeconds?: number; log?: (id: string, error: unknown) => void } = {},
): Promise<void> {
  const { retrySeconds = RETRY_SECONDS, aliveSeconds = ALIVE_SECONDS, log = console.error } = options;
  try {
    if ((await ledger.take()) === "run") await ledger.done(await showingLife(ledger, aliveSeconds, work));
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

/** Work that takes its time is no work that was lost. */
async function showingLife<Report>(
  ledger: Pick<TaskLedger<Report>, "alive">,
  everySeconds: number,
  work: () => Promise<Report>,
): Promise<Report> {
  let left = Math.floor(LONGEST_SECONDS / everySeconds);
  const timer = setInterval(() => {
    if (left-- > 0) ledger.alive?.().catch(() => {});
    else clearInterval(timer);
  }, everySeconds * 1000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

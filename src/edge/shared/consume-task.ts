import type { Message } from "@cloudflare/workers-types";
import { finalFailure, reasonOf } from "./job-failure.ts";
import type { Ledger, TaskKind, TaskReport } from "./ledger-port.ts";

const RETRY_SECONDS = 5;

/**
 * One task from a queue: not done twice, told to the ledger, tried again when that may help. What no other try would
 * change ends its job.
 */
export async function consumeTask(
  message: Message,
  ledger: Ledger,
  kind: TaskKind,
  id: number,
  work: () => Promise<TaskReport>,
  { RETRY_SECONDS: seconds }: { RETRY_SECONDS?: string },
): Promise<void> {
  try {
    if ((await ledger.take(kind, id)) === "run") await ledger.done(kind, id, await work());
  } catch (error) {
    const failure = finalFailure(error);
    if (!failure) {
      await ledger.tried(kind, id, reasonOf(error));
      const pause = seconds === undefined ? RETRY_SECONDS : Number(seconds);
      return message.retry({ delaySeconds: pause * message.attempts });
    }
    await ledger.fail(failure.code, failure.message);
  }
  message.ack();
}

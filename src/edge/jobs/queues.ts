import type { Message, MessageBatch } from "@cloudflare/workers-types";
import { ImageFormatError, ImageNotFoundError } from "../../image/errors.ts";
import { JobError } from "../../orchestrator/errors.ts";
import { ObjectChangedError } from "../../storage/errors.ts";
import { ledgerOf } from "../shared/ledger-port.ts";
import type { ShardMessage, TaskMessage } from "../shared/queue-messages.ts";
import type { Bindings } from "./bindings.ts";
import { runTask } from "./tasks.ts";

/** Seconds before a task that failed is tried again, times the tries so far. */
const RETRY_SECONDS = 5;

/** Work of the job service itself: planning, merging, finishing. */
export async function consumeTasks(batch: MessageBatch<unknown>, env: Bindings): Promise<void> {
  for (const message of batch.messages as readonly Message<TaskMessage>[]) {
    const { job, kind, id } = message.body;
    const ledger = ledgerOf(env.LEDGERS!, job);
    try {
      if ((await ledger.take(kind, id)) === "run")
        await ledger.done(kind, id, await runTask(env, message.body));
      message.ack();
    } catch (error) {
      console.error(error);
      const reason = (error as Error).message;
      if (error instanceof ObjectChangedError) {
        await ledger.fail("source_changed", "the source was replaced while the job ran: start the job again");
      } else if (error instanceof ImageFormatError || error instanceof ImageNotFoundError) {
        await ledger.fail("source_unreadable", reason);
      } else if (error instanceof JobError) {
        await ledger.fail("job_refused", reason);
      } else {
        await ledger.tried(kind, id, reason);
        message.retry({ delaySeconds: RETRY_SECONDS * message.attempts });
        continue;
      }
      message.ack();
    }
  }
}

/** What was given up after its last try ends its job; others go on. */
export async function consumeDeadLetters(batch: MessageBatch<unknown>, env: Bindings): Promise<void> {
  for (const message of batch.messages) {
    const body = message.body as Partial<ShardMessage & TaskMessage>;
    if (typeof body?.job === "string") {
      const ledger = ledgerOf(env.LEDGERS!, body.job);
      if (typeof body.shard === "number") await ledger.giveUp("shard", body.shard);
      else if (body.kind && typeof body.id === "number") await ledger.giveUp(body.kind, body.id);
    } else {
      console.error("a storage event was given up", JSON.stringify(message.body).slice(0, 500));
    }
    message.ack();
  }
}

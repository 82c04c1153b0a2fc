import type { Message, MessageBatch } from "@cloudflare/workers-types";
import { consumeTask } from "../../service/consume-task.ts";
import { HttpError } from "../../service/http-error.ts";
import { StorageError } from "../../storage/errors.ts";
import { createTaskLedger, getLedger, heartbeatSeconds, retrySeconds } from "../shared/ledger-port.ts";
import type { ShardMessage, TaskMessage } from "../shared/queue-messages.ts";
import type { Bindings } from "./context/bindings.ts";
import { readQueuedEvent } from "./events/queued-event.ts";
import { getPulse, isPulse } from "./health/pulse.ts";
import { runTask } from "./lifecycle/tasks.ts";
import { startJobs } from "./triggers/start-jobs.ts";

/** Consumes the tasks of the job service: planning, merging, finishing. */
export async function consumeTasks(batch: MessageBatch<unknown>, env: Bindings): Promise<void> {
  for (const message of batch.messages as readonly Message<TaskMessage>[]) {
    const { job, kind, id } = message.body;
    const ledger = createTaskLedger(getLedger(env.LEDGERS!, job), kind, id);
    const retry = { retrySeconds: retrySeconds(env), heartbeatSeconds: heartbeatSeconds(env) };
    await consumeTask(message, ledger, () => runTask(env, message.body), retry);
  }
}

/** Consumes storage events of R2, of webhooks, and of this service. Events without a matching rule start nothing. */
export async function consumeEvents(batch: MessageBatch<unknown>, env: Bindings): Promise<void> {
  // First, because handling events may take long.
  if (batch.messages.some(({ body }) => isPulse(body)))
    await getPulse(env)?.acknowledge().catch(console.error);
  for (const message of batch.messages) {
    if (isPulse(message.body)) {
      message.ack();
      continue;
    }
    try {
      const { events } = readQueuedEvent(message.body);
      for (const event of events) await startJobs(env, event);
      message.ack();
    } catch (error) {
      // Client errors are permanent; other errors may be transient.
      if (error instanceof HttpError && error.status < 500) {
        console.error(`a storage event starts no job: ${error.message}`);
        message.ack();
      } else {
        // Unknown errors need a stack trace; an unavailable source needs one line.
        const known = error instanceof StorageError || (error as Error)?.name === "TimeoutError";
        console.error(known ? `a storage event is retried: ${(error as Error).message}` : error);
        message.retry();
      }
    }
  }
}

/** Consumes dead letters: the job of a dead task fails. */
export async function consumeDeadLetters(batch: MessageBatch<unknown>, env: Bindings): Promise<void> {
  for (const message of batch.messages) {
    const body = message.body as Partial<ShardMessage & TaskMessage>;
    if (typeof body?.job === "string") {
      const ledger = getLedger(env.LEDGERS!, body.job);
      if (typeof body.shard === "number") await ledger.deadLetter("shard", body.shard);
      else if (body.kind && typeof body.id === "number") await ledger.deadLetter(body.kind, body.id);
    } else if (!isPulse(body)) {
      console.error("a storage event failed on every attempt", JSON.stringify(message.body).slice(0, 500));
    }
    message.ack();
  }
}

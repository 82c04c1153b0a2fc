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

/** Work of the job service itself: planning, merging, finishing. */
export async function consumeTasks(batch: MessageBatch<unknown>, env: Bindings): Promise<void> {
  for (const message of batch.messages as readonly Message<TaskMessage>[]) {
    const { job, kind, id } = message.body;
    const ledger = createTaskLedger(getLedger(env.LEDGERS!, job), kind, id);
    const retry = { retrySeconds: retrySeconds(env), heartbeatSeconds: heartbeatSeconds(env) };
    await consumeTask(message, ledger, () => runTask(env, message.body), retry);
  }
}

/** Storage events: from R2's notifications, from webhooks, or told by the service itself. Those that no rule asks for are dropped. */
export async function consumeEvents(batch: MessageBatch<unknown>, env: Bindings): Promise<void> {
  // First: what comes before it may take its time.
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
      // What is refused now is refused for good; all else may pass.
      if (error instanceof HttpError && error.status < 500) {
        console.error(`a storage event starts no job: ${error.message}`);
        message.ack();
      } else {
        // Of what is not ours the trace is needed; a source that is away is told of in a line.
        const known = error instanceof StorageError || (error as Error)?.name === "TimeoutError";
        console.error(known ? `a storage event is tried again: ${(error as Error).message}` : error);
        message.retry();
      }
    }
  }
}

/** What was given up after its last try ends its job; others go on. */
export async function consumeDeadLetters(batch: MessageBatch<unknown>, env: Bindings): Promise<void> {
  for (const message of batch.messages) {
    const body = message.body as Partial<ShardMessage & TaskMessage>;
    if (typeof body?.job === "string") {
      const ledger = getLedger(env.LEDGERS!, body.job);
      if (typeof body.shard === "number") await ledger.deadLetter("shard", body.shard);
      else if (body.kind && typeof body.id === "number") await ledger.deadLetter(body.kind, body.id);
    } else if (!isPulse(body)) {
      console.error("a storage event was given up", JSON.stringify(message.body).slice(0, 500));
    }
    message.ack();
  }
}

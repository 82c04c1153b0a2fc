import type { ExecutionContext, MessageBatch } from "@cloudflare/workers-types";
import { createJobsApp } from "./app.ts";
import type { Bindings } from "./context/bindings.ts";
import { consumeDeadLetters, consumeEvents, consumeTasks } from "./queues.ts";

export { CohortLedger } from "./cohorts/cohort-ledger.ts";
// The name in wrangler.toml: another one would need a migration.
export { MessageDeduplicator as SeenMessages } from "./events/message-deduplicator.ts";
export { Pulse } from "./health/pulse.ts";
export { JobLedger } from "./lifecycle/ledger.ts";
export { JobWorkflow } from "./lifecycle/workflow.ts";
export { UploadLedger } from "./uploads/upload-ledger.ts";

const app = createJobsApp();

/** The job service. It queues its own tasks and consumes them. */
export default {
  fetch: (request: Request, env: Bindings, context: ExecutionContext) => app.fetch(request, env, context),

  async queue(batch: MessageBatch<unknown>, env: Bindings): Promise<void> {
    if (batch.queue.startsWith("tilewright-tasks")) return consumeTasks(batch, env);
    if (batch.queue.startsWith("tilewright-events")) return consumeEvents(batch, env);
    if (batch.queue.startsWith("tilewright-dead")) return consumeDeadLetters(batch, env);
    throw new Error(`no consumer for queue ${batch.queue}`);
  },
};

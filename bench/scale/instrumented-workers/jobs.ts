import type { ExecutionContext, MessageBatch } from "@cloudflare/workers-types";
import type { Bindings } from "../../../src/edge/jobs/context/bindings.ts";
import worker, { JobLedger as Ledger } from "../../../src/edge/jobs/worker.ts";
import { count, countedBucket, countMessages } from "./count.ts";

export {
  CohortLedger,
  JobWorkflow,
  Pulse,
  SeenMessages,
  UploadLedger,
} from "../../../src/edge/jobs/worker.ts";

/** The ledger, with counted calls. */
export class JobLedger extends Ledger {}
for (const name of Object.getOwnPropertyNames(Ledger.prototype)) {
  if (name === "constructor") continue;
  const method = Ledger.prototype[name as "claim"] as (...args: unknown[]) => unknown;
  Object.defineProperty(JobLedger.prototype, name, {
    value(this: Ledger, ...args: unknown[]) {
      count(`ledger ${name} ${name === "done" ? JSON.stringify(args.slice(0, 2)) : ""}`);
      return method.apply(this, args);
    },
  });
}

const counted = (env: Bindings): Bindings => ({ ...env, RESULTS: countedBucket(env.RESULTS) });

export default {
  fetch: (request: Request, env: Bindings, context: ExecutionContext) => worker.fetch(request, env, context),
  queue: (batch: MessageBatch<unknown>, env: Bindings) => {
    countMessages(batch);
    return worker.queue(batch, counted(env));
  },
};

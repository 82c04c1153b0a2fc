import type { TaskKind } from "../../shared/ledger-port.ts";
import type { ShardMessage, TaskMessage } from "../../shared/queue-messages.ts";
import type { Bindings } from "../context/bindings.ts";
import { chooseShardQueue } from "./shard-queues.ts";

/** Maximum number of messages in one call of a queue. */
const SEND_BATCH = 100;

/** Sends tasks of one job to their queue: shards to the edge function, all others to this service. */
export async function sendTasks(
  env: Bindings,
  job: string,
  kind: TaskKind,
  ids: readonly number[],
): Promise<void> {
  for (let i = 0; i < ids.length; i += SEND_BATCH) {
    const some = ids.slice(i, i + SEND_BATCH);
    if (kind === "shard") {
      await chooseShardQueue(env, job, some[0]!).sendBatch(
        some.map((shard) => ({ body: { job, shard } satisfies ShardMessage })),
      );
    } else {
      await env.TASKS!.sendBatch(some.map((id) => ({ body: { job, kind, id } satisfies TaskMessage })));
    }
  }
}

import type { TaskKind } from "../../shared/ledger-port.ts";
import type { ShardMessage, TaskMessage } from "../../shared/queue-messages.ts";
import type { Bindings } from "../context/bindings.ts";
import { chooseShardQueue } from "./shard-queues.ts";

/** Messages a queue takes in one call. */
const SEND_BATCH = 100;

/** Puts tasks of one job on their queue: shards go to the edge function, all else comes back here. */
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

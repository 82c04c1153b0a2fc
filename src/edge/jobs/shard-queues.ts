import type { Queue } from "@cloudflare/workers-types";
import type { Bindings } from "./bindings.ts";

/** Queues that take the shards of new tasks: SHARDS, then SHARDS_1, SHARDS_2 … as far as they follow each other. */
function shardQueues(env: Bindings): Queue[] {
  const queues = [env.SHARDS!];
  for (let more = env.SHARDS_1; more; more = env[`SHARDS_${queues.length}`]) queues.push(more);
  return queues;
}

/**
 * The queue of a job's shards: all of them go to one, so that each queue's consumers keep the plans of few jobs, and jobs
 * spread evenly over the queues. A shard may be done from any queue, so their number may change while jobs run.
 */
export function shardQueueOf(env: Bindings, job: string): Queue {
  const queues = shardQueues(env);
  return queues[shardQueueIndex(job, queues.length)]!;
}

/** @returns 0 to `count` - 1, the same for the same job: FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
export function shardQueueIndex(job: string, count: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < job.length; i++) hash = Math.imul(hash ^ job.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % count;
}

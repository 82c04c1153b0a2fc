import type { Queue } from "@cloudflare/workers-types";
import type { Bindings } from "../context/bindings.ts";

/** Queues that shards are sent to: SHARDS, then SHARDS_1, SHARDS_2 … as far as they follow each other. */
export function shardQueues(env: Bindings): Queue[] {
  const queues = [env.SHARDS!];
  for (let more = env.SHARDS_1; more; more = env[`SHARDS_${queues.length}`]) queues.push(more);
  return queues;
}

/**
 * The queue of shards that are sent together, by the hash of their job and the first of them: a job that is alone has all
 * consumers, and many jobs fill all queues alike. A shard may be done from any queue, so their number may change while jobs run.
 */
export function chooseShardQueue(env: Bindings, job: string, firstShard: number): Queue {
  const queues = shardQueues(env);
  return queues[shardQueueIndex(`${job}/${firstShard}`, queues.length)]!;
}

/** @returns 0 to `count` - 1, the same for the same name: FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
export function shardQueueIndex(name: string, count: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % count;
}

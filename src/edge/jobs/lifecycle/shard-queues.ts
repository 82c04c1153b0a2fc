import type { Queue } from "@cloudflare/workers-types";
import type { Bindings } from "../context/bindings.ts";

/** The shard queues: SHARDS, then SHARDS_1, SHARDS_2 … without gaps. */
export function shardQueues(env: Bindings): Queue[] {
  const queues = [env.SHARDS!];
  for (let more = env.SHARDS_1; more; more = env[`SHARDS_${queues.length}`]) queues.push(more);
  return queues;
}

/**
 * Chooses the queue of a batch of shards by a hash of the job and the first shard, so that one job uses all consumers and
 * many jobs spread evenly. Any queue can deliver any shard, so the number of queues may change while jobs run.
 */
export function chooseShardQueue(env: Bindings, job: string, firstShard: number): Queue {
  const queues = shardQueues(env);
  return queues[shardQueueIndex(`${job}/${firstShard}`, queues.length)]!;
}

/** @returns 0 to `count` - 1 by FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
export function shardQueueIndex(name: string, count: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % count;
}

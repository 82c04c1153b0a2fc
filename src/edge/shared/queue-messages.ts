/** What travels on the queues between the Workers. Small: bytes lie in the bucket, under the job's keys. */
export interface ShardMessage {
  job: string;
  shard: number;
}

/** Work that the job service does itself. `id` is a merge block's number, 0 for the others. */
export interface TaskMessage {
  job: string;
  kind: "plan" | "merge" | "finish";
  id: number;
}

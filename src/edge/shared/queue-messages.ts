/** A message of a shard queue. Data lies in the bucket, under the job's keys. */
export interface ShardMessage {
  job: string;
  shard: number;
}

/** A task of the job service. `id` is the number of a merge block, otherwise 0. */
export interface TaskMessage {
  job: string;
  kind: "plan" | "merge" | "finish";
  id: number;
}

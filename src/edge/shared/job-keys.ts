/** Keys of a job's objects in the RESULTS bucket. `work/` is deleted when the job has ended; a lifecycle rule deletes leftovers. */
export const jobKeys = {
  work: (job: string) => `work/${job}/`,
  plan: (job: string) => `work/${job}/plan`,
  records: (job: string, shard: number) => `work/${job}/records/${shard}`,
  results: (job: string) => `results/${job}/`,
  manifest: (job: string) => `results/${job}/run.json`,
};

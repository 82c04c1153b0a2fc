/** Where a job's objects lie in the RESULTS bucket. `work/` goes when the job is done; a lifecycle rule is the backstop. */
export const jobKeys = {
  work: (job: string) => `work/${job}/`,
  plan: (job: string) => `work/${job}/plan`,
  records: (job: string, shard: number) => `work/${job}/records/${shard}`,
  results: (job: string) => `results/${job}/`,
  manifest: (job: string) => `results/${job}/run.json`,
};

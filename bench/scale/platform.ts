/** Limits and latencies of the platform. */
export interface Platform {
  /** Number of shard queues. */
  queues: number;
  consumersPerQueue: number;
  /** Messages per second that a queue accepts. */
  sendsPerSecond: number;
  /** Delay from a free consumer to its next message. */
  deliverMs: number;
  /** Deliveries of a message before it goes to the dead-letter queue. */
  tries: number;
  /** Round trip of a call of a ledger. */
  callMs: number;
  /** Rows per second that a ledger writes; a call without writes takes `callMs`. */
  ledgerRowsPerSecond: number;
  /** Workflows created per second at most, and the duration of a step. */
  workflowsPerSecond: number;
  stepMs: number;
}

/** Durations of tasks, in milliseconds of a consumer. */
export interface Durations {
  /** CPU time of a window in the edge function. */
  window: number;
  /** Overhead of a shard: reading its region, writing its records. */
  shard: number;
  /** Overhead of the first shard of a new isolate: loading and verifying the model. */
  coldStart: number;
  plan: number;
  /** Duration of merging a block, and of each window in it. */
  merge: number;
  mergeWindow: number;
  /** Duration of finishing a job, and of each million covered pixels. */
  finish: number;
  finishMegapixel: number;
  /** Randomness: the standard deviation of the logarithm of all of these. */
  spread: number;
}

/** Faults, each as a probability. */
export interface Faults {
  /** Messages delivered twice. */
  duplicates: number;
  /** Failed calls that send messages to a queue. */
  refusals: number;
  /** Attempts that fail midway with an error. */
  failures: number;
  /** Attempts whose consumer is lost midway. */
  crashes: number;
  /** Shards that take `stragglerFactor` times as long. */
  stragglers: number;
  stragglerFactor: number;
  /** Shards that run in a new isolate. */
  coldStarts: number;
  /** Merges that find the records of a shard missing. */
  lostRecords: number;
}

/**
 * Cloudflare's limits from its documentation of November 2026. Latencies are assumed, and 350 rows per second within 200 to
 * 500.
 */
export const CLOUDFLARE: Platform = {
  queues: 1,
  consumersPerQueue: 250,
  sendsPerSecond: 5000,
  deliverMs: 50,
  tries: 5,
  callMs: 20,
  ledgerRowsPerSecond: 350,
  workflowsPerSecond: 100,
  stepMs: 50,
};

/**
 * On the engine a window of the bundled model takes 55 ms of CPU in workerd on one core here, and a new isolate 0.5 s
 * (bench/engine-workerd.ts): four times and twice as much is assumed on the platform. Merging is as measured here
 * (bench/scale-local.ts), finishing as docs/deploy.md has it; the rest is assumed.
 */
export const ON_CLOUDFLARE: Durations = {
  window: 200,
  shard: 1500,
  coldStart: 1000,
  plan: 5000,
  merge: 500,
  mergeWindow: 2.5,
  finish: 5000,
  finishMegapixel: 90,
  spread: 0.1,
};

/** With onnxruntime-web, for models that the engine cannot run: 0.18 s and 2 to 4 s here, multiplied alike. */
export const ON_ONNXRUNTIME: Durations = { ...ON_CLOUDFLARE, window: 700, coldStart: 4000 };

export const USUAL_FAULTS: Faults = {
  duplicates: 0.001,
  refusals: 0,
  failures: 0.002,
  crashes: 0.001,
  stragglers: 0.01,
  stragglerFactor: 4,
  coldStarts: 0.02,
  lostRecords: 0,
};

export const NO_FAULTS: Faults = {
  duplicates: 0,
  refusals: 0,
  failures: 0,
  crashes: 0,
  stragglers: 0,
  stragglerFactor: 1,
  coldStarts: 0,
  lostRecords: 0,
};

/** What the platform allows and how long its parts take. */
export interface Platform {
  /** Queues of shards. */
  queues: number;
  consumersPerQueue: number;
  /** Messages that a queue takes in a second. */
  sendsPerSecond: number;
  /** From a free consumer to the message in its hands. */
  deliverMs: number;
  /** Tries of a message before it is a dead letter. */
  tries: number;
  /** A call of a ledger, there and back. */
  callMs: number;
  /** Rows that a ledger writes in a second; a call that writes none takes `callMs` alone. */
  ledgerRowsPerSecond: number;
  /** Workflows that may be made in a second, and how long each of their steps takes. */
  workflowsPerSecond: number;
  stepMs: number;
}

/** How long tasks take, in milliseconds of a consumer. */
export interface Durations {
  /** CPU of a window in the edge function. */
  window: number;
  /** Of a shard beside its windows: reading its region, putting its records. */
  shard: number;
  /** Of the first shard of a new isolate: the model is loaded and its golden tile passed. */
  coldStart: number;
  plan: number;
  /** Of a block, and of each window that is merged in it. */
  merge: number;
  mergeWindow: number;
  /** Of a job, and of each million pixels under kept windows. */
  finish: number;
  finishMegapixel: number;
  /** By chance: the standard deviation of the logarithm of all of these. */
  spread: number;
}

/** What goes wrong, each as a share. */
export interface Faults {
  /** Of messages that come twice. */
  duplicates: number;
  /** Of calls that would put messages on a queue, which takes none of them. */
  refusals: number;
  /** Of tries that fail half way and say so. */
  failures: number;
  /** Of tries whose consumer is gone half way without a word. */
  crashes: number;
  /** Of shards that take `stragglerFactor` times as long. */
  stragglers: number;
  stragglerFactor: number;
  /** Of shards that meet a new isolate. */
  coldStarts: number;
  /** Of merges that find the records of a shard gone. */
  lostRecords: number;
}

/**
 * Cloudflare's limits, from its documentation in November 2026, and what is assumed where it says nothing: the latencies, and 350 rows
 * a second of 200 to 500.
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
 * A window of the bundled model takes 0.18 s of CPU in workerd on one core here; 0.5 to 1 s is expected of the platform, and larger
 * models take as long. Merging is as measured here (bench/scale-local.ts), finishing as docs/deploy.md has it; the rest is assumed.
 */
export const ON_CLOUDFLARE: Durations = {
  window: 700,
  shard: 1500,
  coldStart: 4000,
  plan: 5000,
  merge: 500,
  mergeWindow: 2.5,
  finish: 5000,
  finishMegapixel: 90,
  spread: 0.1,
};

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

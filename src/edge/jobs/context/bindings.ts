import type { DurableObjectNamespace, Queue, R2Bucket, Workflow } from "@cloudflare/workers-types";

/** The bindings of the job service as the platform gives them; each part checks those it uses. */
export interface Bindings {
  /** Where uploads go, and its name in addresses and events. */
  SCANS?: R2Bucket;
  SCANS_BUCKET?: string;
  /** `work/<job>/…` while a job runs, `results/<job>/…` for good. */
  RESULTS?: R2Bucket;
  RESULTS_BUCKET?: string;
  /** `<name>/model.json` and the files beside it. */
  MODELS?: R2Bucket;

  /** Shards on their way to the edge function, the work done here, and storage events. */
  SHARDS?: Queue;
  /** More queues of shards; jobs spread over all of them. */
  [more: `SHARDS_${number}`]: Queue | undefined;
  TASKS?: Queue;
  EVENTS?: Queue;
  LEDGERS?: DurableObjectNamespace;
  COHORTS?: DurableObjectNamespace;
  UPLOADS?: DurableObjectNamespace;
  SEEN?: DurableObjectNamespace;
  PULSE?: DurableObjectNamespace;
  JOBS?: Workflow;

  /** Secret, JSON: who may do what. `[{ "name", "token", "scopes": ["submit", "read", "work", "admin"] }]` */
  TOKENS?: string;
  /** JSON: which storage events start which jobs. */
  RULES?: string;
  /** JSON: buckets and hosts that may be read besides SCANS. */
  SOURCES?: string;
  /** Secret, JSON: the keys of those buckets, by bucket name. */
  SOURCE_KEYS?: string;
  /** Secret, JSON: how each webhook proves itself. */
  WEBHOOKS?: string;
  /** Hosts that callbacks may go to, separated by commas, and the secret that signs them. */
  CALLBACK_HOSTS?: string;
  CALLBACK_SECRET?: string;
  /** S3 access to SCANS for presigned uploads: endpoint, and secret keys as JSON. */
  SCANS_S3_ENDPOINT?: string;
  SCANS_S3_KEYS?: string;
  /** The package and variant that the edge function holds; default variant as the package says. */
  MODEL?: string;
  VARIANT?: string;
  /** How long a job may stand still before its ledger sends again what is not done. Default 300. */
  STALL_SECONDS?: string;
  /** Tasks of a job that may be under way at a time, for each queue of shards: what keeps a large job from standing before all others. Default 500. */
  TASKS_AHEAD?: string;
  /** Before the first retry of a task, and so much longer before each further one. Default 5. */
  RETRY_SECONDS?: string;
  /** How long after a job's end its tasks that were under way may still write; then that is removed. Default 960. */
  LATE_SECONDS?: string;
  /** After how long without a message or an alarm /healthz says that the service stands still. Default 300. */
  HEALTH_SECONDS?: string;
  /** Refuse what is larger: pixels under kept windows, in billions. Default: nothing is refused. */
  MAX_GIGAPIXELS?: string;
  /** CPU time of a window in the edge function, as measured; only the cost estimate is made from it. Default 250. */
  CPU_MS_PER_WINDOW?: string;
  /** "true": an upload that is complete is told to EVENTS by the service itself, where the platform sends no notification. */
  SYNTHESISE_EVENTS?: string;
}

import type { DurableObjectNamespace, Queue, R2Bucket, Workflow } from "@cloudflare/workers-types";

/** The bindings of the job service, unchecked; each part checks those it uses. */
export interface Bindings {
  /** The bucket of uploads, and its name in addresses and events. */
  SCANS?: R2Bucket;
  SCANS_BUCKET?: string;
  /** `work/<job>/…` while a job runs, `results/<job>/…` permanently. */
  RESULTS?: R2Bucket;
  RESULTS_BUCKET?: string;
  /** `<name>/model.json` and the files beside it. */
  MODELS?: R2Bucket;

  /** Queues of shards for the edge function, of tasks of this service, and of storage events. */
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

  /** Secret, JSON: who may do what. `[{ "name", "token", "scopes": ["submit", "read", "source", "work", "admin"] }]` */
  TOKENS?: string;
  /** JSON: which storage events start which jobs. */
  RULES?: string;
  /** JSON: buckets and hosts that may be read besides SCANS. */
  SOURCES?: string;
  /** Secret, JSON: the keys of those buckets, by bucket name. */
  SOURCE_KEYS?: string;
  /** Secret, JSON: how each webhook authenticates. */
  WEBHOOKS?: string;
  /** Hosts that callbacks may go to, separated by commas, and the secret that signs them. */
  CALLBACK_HOSTS?: string;
  CALLBACK_SECRET?: string;
  /** Origins of pages on other hosts that may call the service, separated by commas, or `*`. Default: none. */
  CORS_ORIGINS?: string;
  /** S3 access to SCANS for presigned uploads: endpoint, and secret keys as JSON. */
  SCANS_S3_ENDPOINT?: string;
  SCANS_S3_KEYS?: string;
  /** Package and variant that the edge function runs; default: the variant of the package. */
  MODEL?: string;
  VARIANT?: string;
  /** Time without progress after which a ledger dispatches open tasks again. Default 300. */
  STALL_SECONDS?: string;
  /** Tasks of a job in flight per shard queue, so that a large job does not block others. Default 500. */
  TASKS_AHEAD?: string;
  /** Delay before the first retry of a task; each further retry waits that much longer. Default 5. */
  RETRY_SECONDS?: string;
  /** Time after a job's end in which late tasks may still write; then their objects are deleted. Default 960. */
  LATE_SECONDS?: string;
  /** Time without a message or alarm after which /healthz fails. Default 300. */
  HEALTH_SECONDS?: string;
  /** Maximum number of pixels under kept windows, in billions. Default: no limit. */
  MAX_GIGAPIXELS?: string;
  /** Measured CPU time of a window in the edge function, for the cost estimate. Default 100. */
  CPU_MS_PER_WINDOW?: string;
  /** "true": the service itself publishes complete uploads to EVENTS, where the platform sends no notifications. */
  SYNTHESISE_EVENTS?: string;
}

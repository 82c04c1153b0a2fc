import { mkdir, readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { bundleWorker, COMPATIBILITY_DATE, modulesOf } from "./worker-bundle.ts";

const BUCKETS = { SCANS: "tilewright-scans", RESULTS: "tilewright-results", MODELS: "tilewright-models" };
/** Long enough for a shard of a slow machine, short enough that a killed stack goes on soon after its restart. */
const STALL_SECONDS = "30";
/** One shard at a time is done here: another job should not wait for hundreds. */
const TASKS_AHEAD = "50";

export interface StackOptions {
  /** Everything the stack keeps lies under it. */
  state: string;
  host: string;
  /** 0: any free one. */
  port: number;
  /** Directory of the model package. */
  model: string;
  variant?: string;
  /** Queues of shards, each with a consumer of its own; default 1, which is what runners can pull from. */
  shardQueues?: number;
  /** Who takes shards: the edge function, or runners that pull them from below `PULL_PATH`. */
  shards?: "edge" | "pull";
  /** Bindings beside or instead of the usual ones, by Worker; `segment` of whoever takes the shards. */
  jobs?: Record<string, string>;
  segment?: Record<string, string>;
  /** Bundles made before; default: made now. */
  bundles?: Bundles;
  log?: (line: string) => void;
}

export interface Bundles {
  jobs: string;
  /** The edge function, or what hands shards out. */
  segment: string;
  remove(): Promise<void>;
}

export interface Stack {
  url: URL;
  miniflare: Miniflare;
  stop(): Promise<void>;
}

/** The address of the queue of shards, as Cloudflare's API has it; below it are `messages/pull` and `messages/ack`. */
export const PULL_PATH = "/client/v4/accounts/local/queues/tilewright-shards";

/** Both Workers as wrangler would upload them. Needs no network. */
export async function bundleWorkers(shards: "edge" | "pull" = "edge"): Promise<Bundles> {
  const taker = shards === "edge" ? "src/edge/segment/wrangler.toml" : "src/edge/pull/wrangler.toml";
  const made = await Promise.allSettled(["wrangler.toml", taker].map(bundleWorker));
  const bundles = made.flatMap((m) => (m.status === "fulfilled" ? [m.value] : []));
  const remove = async () => void (await Promise.all(bundles.map((bundle) => bundle.remove())));
  const failed = made.find((m) => m.status === "rejected");
  if (failed) {
    await remove();
    throw failed.reason;
  }
  const [jobs, segment] = bundles.map((bundle) => bundle.directory) as [string, string];
  return { jobs, segment, remove };
}

/** The whole service on this machine: both Workers in workerd, with buckets, queues, ledgers and Workflows on disk. */
export async function startStack(options: StackOptions): Promise<Stack> {
  await mkdir(options.state, { recursive: true });
  const own = options.bundles === undefined;
  const bundles = options.bundles ?? (await bundleWorkers(options.shards));
  let miniflare: Miniflare | undefined;
  try {
    const name = basename(options.model);
    const model = { MODEL: name, ...(options.variant ? { VARIANT: options.variant } : {}) };
    const names = { SCANS_BUCKET: BUCKETS.SCANS, RESULTS_BUCKET: BUCKETS.RESULTS };
    const shards = Array.from({ length: options.shardQueues ?? 1 }, (_, n) => ({
      binding: n === 0 ? "SHARDS" : `SHARDS_${n}`,
      queue: n === 0 ? "tilewright-shards" : `tilewright-shards-${n}`,
    }));
    const retries = {
      maxBatchSize: 1,
      maxBatchTimeout: 0,
      maxRetries: 4,
      deadLetterQueue: "tilewright-dead",
    };
    const started = new Miniflare(
      convertV4MiniflareOptions({
        host: options.host,
        port: options.port,
        cf: false,
        log: new Log(LogLevel.WARN),
        handleStructuredLogs: ({ message }) => options.log?.(message),
        resourcePersistencePath: options.state,
        defaultPersistRoot: options.state,
        workers: [
          {
            name: "tilewright",
            ...(await modulesOf(bundles.jobs)),
            compatibilityDate: COMPATIBILITY_DATE,
            bindings: {
              ...names,
              ...model,
              STALL_SECONDS,
              TASKS_AHEAD,
              SYNTHESISE_EVENTS: "true",
              ...options.jobs,
            },
            r2Buckets: BUCKETS,
            queueProducers: {
              ...Object.fromEntries(shards.map(({ binding, queue }) => [binding, queue])),
              TASKS: "tilewright-tasks",
              EVENTS: "tilewright-events",
            },
            queueConsumers: {
              "tilewright-tasks": retries,
              "tilewright-events": { ...retries, maxBatchSize: 10, maxRetries: 10, retryDelay: 5 },
              "tilewright-dead": { maxBatchSize: 10, maxBatchTimeout: 0 },
            },
            durableObjects: {
              LEDGERS: { className: "JobLedger", useSQLite: true },
              COHORTS: { className: "CohortLedger", useSQLite: true },
              UPLOADS: { className: "UploadLedger", useSQLite: true },
              SEEN: { className: "SeenMessages", useSQLite: true },
            },
            workflows: { JOBS: { name: "tilewright-jobs", className: "JobWorkflow" } },
          },
          options.shards === "pull"
            ? {
                name: "tilewright-pull",
                ...(await modulesOf(bundles.segment)),
                compatibilityDate: COMPATIBILITY_DATE,
                routes: ["*/client/v4/*"],
                bindings: { ...options.segment },
                queueProducers: { DEAD: "tilewright-dead" },
                queueConsumers: { "tilewright-shards": { maxBatchSize: 100, maxBatchTimeout: 0 } },
                durableObjects: { MESSAGES: { className: "LeasedMessages", useSQLite: true } },
              }
            : {
                name: "tilewright-segment",
                ...(await modulesOf(bundles.segment)),
                compatibilityDate: COMPATIBILITY_DATE,
                bindings: { ...names, ...model, ...options.segment },
                r2Buckets: BUCKETS,
                queueConsumers: Object.fromEntries(shards.map(({ queue }) => [queue, retries])),
                durableObjects: {
                  LEDGERS: { className: "JobLedger", scriptName: "tilewright", useSQLite: true },
                },
              },
        ],
      }),
    );
    miniflare = started;
    const url = await started.ready;
    await uploadModel(started, options.model, `${name}/`);
    return {
      url,
      miniflare: started,
      stop: async () => {
        await started.dispose();
        if (own) await bundles.remove();
      },
    };
  } catch (error) {
    // What is wrong is told by the error, not by what cleaning up after it may add.
    await miniflare?.dispose().catch(() => {});
    if (own) await bundles.remove();
    throw error;
  }
}

/** The package as it is on disk now, so that a new version is served after a restart. */
async function uploadModel(miniflare: Miniflare, directory: string, prefix: string): Promise<void> {
  const bucket = await miniflare.getR2Bucket("MODELS", "tilewright");
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    await bucket.put(prefix + path.slice(directory.length + 1), await readFile(path));
  }
}

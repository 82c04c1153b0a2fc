import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { convertV4MiniflareOptions, type LegacyWorkerOptions, Log, LogLevel, Miniflare } from "miniflare";
import { guardChildren } from "./child-guard.ts";
import { chooseEdgeRuntime, type EdgeRuntime } from "./edge-runtime.ts";
import { type DoorOptions, openDoor } from "./front-door.ts";
import { watchRuntime } from "./runtime-watch.ts";
import { bundleWorker, COMPATIBILITY_DATE, prebuiltWorker, readModules } from "./worker-bundle.ts";

const BUCKETS = { SCANS: "tilewright-scans", RESULTS: "tilewright-results", MODELS: "tilewright-models" };
/** Long enough for a shard on a slow machine; short enough that a killed stack continues soon after its restart. */
const STALL_SECONDS = "30";
/** Both Workers share one thread here: between windows it answers a page that reads the scan or the labels so far. */
const PAUSE_MS = "4";
/** A batch of events whose sources respond slowly takes longer than a minute. */
const HEALTH_SECONDS = "240";
/** This machine runs one shard at a time: another job must not wait behind hundreds. */
const TASKS_AHEAD = "50";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface StackOptions {
  /** Directory of all buckets, queues and ledgers. */
  state: string;
  host: string;
  /** 0 takes any free port. */
  port: number;
  /** Directory of the model package. */
  model: string;
  variant?: string;
  /** Number of shard queues, each with its own consumer; default 1. Runners can pull from one only. */
  shardQueues?: number;
  /** Whether the edge function takes shards, or runners pull them from `PULL_PATH`. */
  shards?: "edge" | "pull";
  /** Bindings that add to or replace the default ones of each Worker; `segment` is the Worker that takes the shards. */
  jobs?: Record<string, string>;
  segment?: Record<string, string>;
  /** The web app; default: no pages. */
  pages?: DoorOptions["pages"];
  /** Default: bundles the Workers now. */
  bundles?: Bundles;
  log?: (line: string) => void;
  /** A workerd that does not respond for this long is restarted. */
  hungMs?: number;
  /** Called with the process ids of workerd whenever they change. */
  onRuntime?: (pids: number[]) => void;
}

export interface Bundles {
  jobs: string;
  /** The edge function, or the local pull queue. */
  segment: string;
  remove(): Promise<void>;
}

export interface Stack {
  /** Address of the reverse proxy; workerd behind it listens on loopback. */
  url: URL;
  miniflare: Miniflare;
  stop(): Promise<void>;
}

/** Path of the shard queue, as in Cloudflare's API; below it are `messages/pull` and `messages/ack`. */
export const PULL_PATH = "/client/v4/accounts/local/queues/tilewright-shards";

/** Routes that the proxy forwards. Each asks for a token, verifies its sender, or is public by design. */
const ROUTES = /^\/(?:healthz$|v1\/)/;
const PULL_ROUTES = new RegExp(`^${PULL_PATH}/`);

/**
 * A Worker before the others in workerd. Miniflare prefixes every path with `upstream`, so that no path matches its own
 * routes below /cdn-cgi/, which would serve whole buckets to anyone who finds the port. This Worker removes the prefix.
 */
const GATE = `export default {
  fetch(request, { UPSTREAM, JOBS, PULL }) {
    const url = new URL(request.url);
    if (!url.href.startsWith(UPSTREAM)) return new Response(null, { status: 404 });
    url.pathname = url.pathname.slice(new URL(UPSTREAM).pathname.length - 1);
    const worker = PULL && url.pathname.startsWith("/client/v4/") ? PULL : JOBS;
    return worker.fetch(new Request(url, request));
  },
};`;

const BUCKET_NAMES = { SCANS_BUCKET: BUCKETS.SCANS, RESULTS_BUCKET: BUCKETS.RESULTS };
const RETRIES = { maxBatchSize: 1, maxBatchTimeout: 0, maxRetries: 4, deadLetterQueue: "tilewright-dead" };

/**
 * Both Workers: built from a clone as wrangler would upload them, or those of the package. Needs no network.
 * @param runtime of the edge function; default: the engine
 */
export async function bundleWorkers(
  shards: "edge" | "pull" = "edge",
  runtime?: EdgeRuntime,
): Promise<Bundles> {
  const taker =
    shards === "edge"
      ? {
          name: runtime?.worker ?? "segment",
          config: "src/edge/segment/wrangler.toml",
          entry: runtime?.entry,
        }
      : { name: "local-pull-queue", config: "src/edge/local-pull-queue/wrangler.toml" };
  const workers: { name: string; config: string; entry?: string }[] = [
    { name: "jobs", config: "wrangler.toml" },
    taker,
  ];
  const made = await Promise.allSettled(
    workers.map(({ name, config, entry }) => prebuiltWorker(name) ?? bundleWorker(config, { entry })),
  );
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

/** The Workers that run the model, and a line that says on which runtime. */
async function bundleWorkersFor({ model, variant, shards, log }: StackOptions): Promise<Bundles> {
  if (shards === "pull") return bundleWorkers(shards);
  const runtime = await chooseEdgeRuntime(model, variant);
  const why = runtime.reason === undefined ? "" : `: ${runtime.reason}`;
  log?.(`the edge function runs ${basename(model)} on ${runtime.name}${why}`);
  return bundleWorkers(shards, runtime);
}

/** Starts the whole service on this machine: both Workers in workerd, with buckets, queues, ledgers and Workflows on disk. */
export async function startStack(options: StackOptions): Promise<Stack> {
  await mkdir(options.state, { recursive: true });
  const own = options.bundles === undefined;
  const bundles = options.bundles ?? (await bundleWorkersFor(options));
  const guard = guardChildren("workerd", options.onRuntime);
  let miniflare: Miniflare | undefined;
  try {
    // Miniflare's signal handlers would end the process before it has cleaned up: remove them.
    const before = SIGNALS.map((name) => [name, process.listeners(name)] as const);
    const upstream = `http://tilewright.invalid/${randomBytes(24).toString("hex")}/`;
    const started = new Miniflare(
      convertV4MiniflareOptions({
        host: "127.0.0.1",
        port: 0,
        upstream,
        cf: false,
        log: new Log(LogLevel.WARN),
        handleStructuredLogs: ({ message }) => options.log?.(message),
        resourcePersistencePath: options.state,
        defaultPersistRoot: options.state,
        workers: await configureWorkers(options, bundles, upstream),
      }),
    );
    miniflare = started;
    for (const [name, listeners] of before) {
      for (const listener of process.listeners(name)) {
        if (!listeners.includes(listener)) process.off(name, listener);
      }
    }
    const target = await started.ready;
    await uploadModel(started, options.model, `${basename(options.model)}/`);
    const isPull = options.shards === "pull";
    const door = await openDoor({
      host: options.host,
      port: options.port,
      target,
      pages: options.pages,
      allows: (path) => ROUTES.test(path) || (isPull && PULL_ROUTES.test(path)),
    });
    const endWatch = watchRuntime({ target, guard, log: options.log, hungMs: options.hungMs });
    return {
      url: door.url,
      miniflare: started,
      stop: async () => {
        endWatch();
        await door.close();
        await started.dispose();
        guard.close();
        if (own) await bundles.remove();
      },
    };
  } catch (error) {
    // Report the first error, not one of the cleanup.
    await miniflare?.dispose().catch(() => {});
    guard.close();
    if (own) await bundles.remove();
    throw error;
  }
}

/** The Workers in workerd: the gate, the job service, and the edge function or the pull queue. */
async function configureWorkers(
  options: StackOptions,
  bundles: Bundles,
  upstream: string,
): Promise<LegacyWorkerOptions[]> {
  const gate = {
    name: "tilewright-gate",
    modules: true,
    script: GATE,
    compatibilityDate: COMPATIBILITY_DATE,
    bindings: { UPSTREAM: upstream },
    serviceBindings: {
      JOBS: "tilewright",
      ...(options.shards === "pull" ? { PULL: "tilewright-pull" } : {}),
    },
  };
  const taker = options.shards === "pull" ? pullWorker(options, bundles) : segmentWorker(options, bundles);
  return [gate, await jobsWorker(options, bundles), await taker];
}

function modelBindings({ model, variant }: StackOptions): Record<string, string> {
  return { MODEL: basename(model), ...(variant ? { VARIANT: variant } : {}) };
}

function listShardQueues({ shardQueues = 1 }: StackOptions): { binding: string; queue: string }[] {
  return Array.from({ length: shardQueues }, (_, n) => ({
    binding: n === 0 ? "SHARDS" : `SHARDS_${n}`,
    queue: n === 0 ? "tilewright-shards" : `tilewright-shards-${n}`,
  }));
}

async function jobsWorker(options: StackOptions, bundles: Bundles): Promise<LegacyWorkerOptions> {
  return {
    name: "tilewright",
    ...(await readModules(bundles.jobs)),
    compatibilityDate: COMPATIBILITY_DATE,
    bindings: {
      ...BUCKET_NAMES,
      ...modelBindings(options),
      STALL_SECONDS,
      TASKS_AHEAD,
      HEALTH_SECONDS,
      SYNTHESISE_EVENTS: "true",
      ...options.jobs,
    },
    r2Buckets: BUCKETS,
    queueProducers: {
      ...Object.fromEntries(listShardQueues(options).map(({ binding, queue }) => [binding, queue])),
      TASKS: "tilewright-tasks",
      EVENTS: "tilewright-events",
    },
    queueConsumers: {
      "tilewright-tasks": RETRIES,
      "tilewright-events": { ...RETRIES, maxBatchSize: 10, maxRetries: 10, retryDelay: 5 },
      "tilewright-dead": { maxBatchSize: 10, maxBatchTimeout: 0 },
    },
    durableObjects: {
      LEDGERS: { className: "JobLedger", useSQLite: true },
      COHORTS: { className: "CohortLedger", useSQLite: true },
      UPLOADS: { className: "UploadLedger", useSQLite: true },
      SEEN: { className: "SeenMessages", useSQLite: true },
      PULSE: { className: "Pulse", useSQLite: true },
    },
    workflows: { JOBS: { name: "tilewright-jobs", className: "JobWorkflow" } },
  };
}

/** The queue that runners pull shards from. */
async function pullWorker(options: StackOptions, bundles: Bundles): Promise<LegacyWorkerOptions> {
  return {
    name: "tilewright-pull",
    ...(await readModules(bundles.segment)),
    compatibilityDate: COMPATIBILITY_DATE,
    bindings: { ...options.segment },
    queueProducers: { DEAD: "tilewright-dead" },
    queueConsumers: { "tilewright-shards": { maxBatchSize: 100, maxBatchTimeout: 0 } },
    durableObjects: { MESSAGES: { className: "LeasedMessages", useSQLite: true } },
  };
}

/** The edge function. */
async function segmentWorker(options: StackOptions, bundles: Bundles): Promise<LegacyWorkerOptions> {
  return {
    name: "tilewright-segment",
    ...(await readModules(bundles.segment)),
    compatibilityDate: COMPATIBILITY_DATE,
    bindings: { ...BUCKET_NAMES, ...modelBindings(options), STALL_SECONDS, PAUSE_MS, ...options.segment },
    r2Buckets: BUCKETS,
    queueConsumers: Object.fromEntries(listShardQueues(options).map(({ queue }) => [queue, RETRIES])),
    durableObjects: {
      LEDGERS: { className: "JobLedger", scriptName: "tilewright", useSQLite: true },
    },
  };
}

/** Uploads the package from disk, so that a restart serves its current version. */
async function uploadModel(miniflare: Miniflare, directory: string, prefix: string): Promise<void> {
  const bucket = await miniflare.getR2Bucket("MODELS", "tilewright");
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    await bucket.put(prefix + path.slice(directory.length + 1), await readFile(path));
  }
}

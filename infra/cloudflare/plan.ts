import type { EdgeRuntime } from "../../src/cli/stack/edge-runtime.ts";
import { resultsLifecycle, scansCors, scansLifecycle } from "./bucket-rules.ts";
import { type Config, modelName } from "./config.ts";
import { SECRETS, type SecretName } from "./secrets.ts";
import { WORKERS, type WorkerName } from "./worker-config.ts";

/** One call of wrangler. It contains no value of a secret, so it may be shown. */
export interface Step {
  reason: string;
  /** Arguments of `wrangler`. */
  argv: readonly string[];
  /** The step is skipped if this call succeeds and, if lines are given, lists an entry with all of them. */
  unless?: { argv: readonly string[]; lists?: Readonly<Record<string, string>> };
  /** Part of an error that means that the resource exists. */
  settled?: string;
  /** Secret whose value goes to standard input. */
  secret?: SecretName;
  /** Content of a file in `argv`. */
  file?: { path: string; json: unknown };
  /** Its output contains the address of a Worker. */
  showsAddress?: boolean;
}

/** Input of the plan besides the configuration. */
export interface Known {
  /** Secrets with a known value. */
  secrets: readonly SecretName[];
  /** Files of the model package, relative to its directory. */
  modelFiles: readonly string[];
  /** Directory for files that wrangler reads. */
  scratch: string;
  /** Of the edge function. */
  runtime: Pick<EdgeRuntime, "entry" | "reason">;
}

/**
 * The steps that deploy the whole service, in an order in which resources exist before they are used. Idempotent.
 */
export function planSetup(config: Config, known: Known): Step[] {
  const { buckets, queues } = config;
  return [
    signedIn(),
    ...Object.values(buckets).map((name) => createBucket(config, name)),
    ...Object.values(queues).flat().map(createQueue),
    bucketFile(
      known,
      buckets.scans,
      "lifecycle",
      scansLifecycle(config),
      "delete parts of unfinished uploads",
    ),
    bucketFile(known, buckets.results, "lifecycle", resultsLifecycle(config), "delete work/ of lost jobs"),
    ...(config.browserOrigins.length > 0
      ? [bucketFile(known, buckets.scans, "cors", scansCors(config), "let web pages send presigned parts")]
      : []),
    ...uploadModel(config, known),
    // The edge function binds the ledgers, which live in the job service.
    ...deploy("jobs", known, "the job service"),
    ...deployEdge("segment", known, "the edge function"),
    // Last: the Workers can handle events now.
    ...config.notifications.map((rule) => notify(config, rule)),
  ];
}

/** Deploys the model alone, without queue and job service, to probe what the platform allows. */
export function planProbe(config: Config, known: Known): Step[] {
  return [
    signedIn(),
    createBucket(config, config.buckets.models),
    ...uploadModel(config, known),
    ...deployEdge("probe", known, "the probe"),
  ];
}

function signedIn(): Step {
  return {
    reason: "signed in? If not: npx wrangler login, or CLOUDFLARE_API_TOKEN",
    argv: ["whoami", "--json"],
  };
}

function createBucket({ location }: Config, name: string): Step {
  return {
    reason: `bucket ${name}`,
    argv: ["r2", "bucket", "create", name, ...(location ? ["--location", location] : [])],
    unless: { argv: ["r2", "bucket", "info", name] },
    settled: "already exists",
  };
}

function createQueue(name: string): Step {
  return {
    reason: `queue ${name}`,
    argv: ["queues", "create", name],
    unless: { argv: ["queues", "info", name] },
    settled: "already taken",
  };
}

function bucketFile(
  { scratch }: Known,
  bucket: string,
  what: "lifecycle" | "cors",
  json: unknown,
  reason: string,
): Step {
  const path = `${scratch}/${what}-${bucket}.json`;
  return {
    reason: `${what} of ${bucket}: ${reason}`,
    argv: ["r2", "bucket", what, "set", bucket, "--file", path, "--force"],
    file: { path, json },
  };
}

function uploadModel(config: Config, { modelFiles }: Known): Step[] {
  const name = modelName(config);
  // The manifest last, because it names the other files.
  const files = [...modelFiles.filter((file) => file !== "model.json"), "model.json"];
  return files.map((file) => ({
    reason: `model ${name}: ${file}`,
    argv: [
      ...["r2", "object", "put", `${config.buckets.models}/${name}/${file}`],
      ...["--file", `${config.modelPackage}/${file}`, "--remote", "--force"],
    ],
  }));
}

/** With the runtime that the model needs. */
function deployEdge(worker: WorkerName, known: Known, title: string): Step[] {
  const { entry, reason } = known.runtime;
  const [first, ...secrets] = deploy(worker, known, title) as [Step, ...Step[]];
  if (entry === undefined) return [first, ...secrets];
  const [command, ...rest] = first.argv as [string, ...string[]];
  return [
    { ...first, reason: `${first.reason} on onnxruntime-web: ${reason}`, argv: [command, entry, ...rest] },
    ...secrets,
  ];
}

function deploy(worker: WorkerName, { secrets }: Known, title: string): Step[] {
  const config = ["--config", WORKERS[worker]];
  return [
    { reason: `deploy ${title}`, argv: ["deploy", ...config], showsAddress: true },
    ...SECRETS[worker]
      .filter(({ name }) => secrets.includes(name))
      .map(({ name }) => ({
        reason: `secret ${name} of ${title}`,
        argv: ["secret", "put", name, ...config],
        secret: name,
      })),
  ];
}

function notify({ buckets, queues }: Config, { prefix, suffix }: Config["notifications"][number]): Step {
  return {
    reason: `objects created in ${buckets.scans}${prefix || suffix ? ` as ${prefix}*${suffix}` : ""} are sent to ${queues.events}`,
    argv: [
      ...["r2", "bucket", "notification", "create", buckets.scans],
      ...["--event-type", "object-create", "--queue", queues.events],
      ...(prefix ? ["--prefix", prefix] : []),
      ...(suffix ? ["--suffix", suffix] : []),
    ],
    unless: {
      argv: ["r2", "bucket", "notification", "list", buckets.scans],
      lists: {
        queue_name: queues.events,
        prefix: prefix || "(all prefixes)",
        suffix: suffix || "(all suffixes)",
      },
    },
  };
}

import { parseCorsOrigins } from "../../src/edge/jobs/auth/cors.ts";
import { parseTokens } from "../../src/edge/jobs/auth/tokens.ts";
import { parseWebhookSecrets } from "../../src/edge/jobs/events/webhook-secrets.ts";
import { callbackAllowed } from "../../src/edge/jobs/lifecycle/callback.ts";
import { parseRules, type Rule } from "../../src/edge/jobs/triggers/rules.ts";
import { readS3Access } from "../../src/edge/jobs/uploads/upload-settings.ts";
import { parseSourceSettings } from "../../src/edge/sources/source-settings.ts";
import { MIN_TOKEN_LENGTH } from "../../src/service/bearer.ts";
import { type Config, modelName } from "./config.ts";
import type { Secrets } from "./secrets.ts";
import type { WorkerConfig } from "./worker-config.ts";

/** Value of a variable or secret of a Worker. */
const MAX_BINDING_BYTES = 5 * 1024;
/** Variables that must be equal in both Workers. */
const SHARED_VARS = ["MODEL", "VARIANT", "SCANS_BUCKET", "SOURCES"] as const;

export interface Configuration {
  config: Config;
  jobs: WorkerConfig;
  segment: WorkerConfig;
  probe: WorkerConfig;
  secrets: Secrets;
}

/** Finds what would not work after deployment, one sentence each. No sentence contains a part of a secret. */
export function findProblems(given: Configuration): string[] {
  return [...checkNames(given), ...checkVars(given), ...checkRules(given), ...checkSecrets(given)];
}

function* checkNames({ config, jobs, segment, probe }: Configuration): Generator<string> {
  const { buckets, queues } = config;
  const bound = { SCANS: buckets.scans, RESULTS: buckets.results, MODELS: buckets.models };
  for (const [binding, bucket] of Object.entries(bound)) {
    for (const worker of [jobs, segment]) {
      if (worker.buckets[binding] === bucket) continue;
      yield `${worker.name} binds ${binding} to the bucket ${worker.buckets[binding] ?? "of no name"}, config.json says ${bucket}`;
    }
  }
  if (probe.buckets.MODELS !== buckets.models) {
    yield `${probe.name} binds MODELS to another bucket than ${buckets.models}`;
  }
  for (const [binding, script] of Object.entries(segment.foreignObjects)) {
    if (script !== jobs.name) yield `${segment.name} looks for ${binding} in ${script}, not in ${jobs.name}`;
  }
  const known = new Set<string>(Object.values(queues).flat());
  for (const worker of [jobs, segment]) {
    const named = worker.consumes.flatMap((c) => [
      c.queue,
      ...(c.deadLetterQueue ? [c.deadLetterQueue] : []),
    ]);
    for (const queue of new Set([...Object.values(worker.produces), ...named])) {
      if (!known.has(queue)) yield `${worker.name} uses the queue ${queue}, which config.json does not name`;
    }
  }
  const consumed = [...jobs.consumes, ...segment.consumes].map(({ queue }) => queue);
  for (const queue of known) {
    if (!consumed.includes(queue)) yield `the queue ${queue} has no consumer`;
  }
  yield* checkShardQueues(jobs);
  for (const worker of [jobs, segment, probe]) {
    if (worker.vars.MODEL === modelName(config)) continue;
    yield `${worker.name} has MODEL ${worker.vars.MODEL ?? "of no name"}, the package to upload is ${modelName(config)}`;
  }
}

/** A queue with a consumer and no binding is drained, which is allowed. A binding behind a gap would never be chosen. */
function* checkShardQueues({ name, produces }: WorkerConfig): Generator<string> {
  const bindings = Object.keys(produces).filter((binding) => /^SHARDS(_|$)/.test(binding));
  for (let n = 0; n < Math.max(1, bindings.length); n++) {
    const binding = n === 0 ? "SHARDS" : `SHARDS_${n}`;
    if (produces[binding] === undefined) {
      yield `${name} binds no queue to ${binding}: queues of shards are SHARDS, SHARDS_1, SHARDS_2 and so on, without a gap`;
    }
  }
  const bound = bindings.map((binding) => produces[binding]);
  if (new Set(bound).size < bound.length) yield `${name} binds one queue of shards twice`;
}

function* checkVars({ config, jobs, segment }: Configuration): Generator<string> {
  if (jobs.vars.SCANS_BUCKET !== config.buckets.scans) yield `SCANS_BUCKET must be ${config.buckets.scans}`;
  if (jobs.vars.RESULTS_BUCKET !== config.buckets.results) {
    yield `RESULTS_BUCKET must be ${config.buckets.results}: otherwise its objects could start jobs`;
  }
  for (const name of SHARED_VARS) {
    if ((jobs.vars[name] ?? "") !== (segment.vars[name] ?? "")) {
      yield `${name} is not the same in ${jobs.name} and ${segment.name}`;
    }
  }
  try {
    parseCorsOrigins(jobs.vars);
  } catch (error) {
    yield (error as Error).message;
  }
  for (const [name, value] of Object.entries(jobs.vars)) yield* checkSize(name, value);
}

/** Finds rules whose jobs would fail: only the log would show their errors. */
function* checkRules({ jobs, secrets }: Configuration): Generator<string> {
  let rules: readonly Rule[];
  let sources: ReadonlyMap<string, unknown>;
  try {
    rules = parseRules(jobs.vars).list;
    sources = parseSourceSettings({ SOURCES: jobs.vars.SOURCES }).buckets;
  } catch (error) {
    yield (error as Error).message;
    return;
  }
  const { SCANS_BUCKET, MODEL, VARIANT } = jobs.vars;
  for (const { name, bucket, request } of rules) {
    const { model = MODEL, variant, callback } = request;
    if (bucket !== SCANS_BUCKET && !sources.has(bucket)) {
      yield `the rule ${name} is for the bucket ${bucket}, which is neither SCANS_BUCKET nor in SOURCES`;
    }
    if (model !== MODEL || (variant !== undefined && variant !== VARIANT)) {
      yield `the rule ${name} asks for ${[model, variant].join(" ").trim()}, the service runs ${MODEL} ${VARIANT ?? ""}`;
    }
    if (callback !== undefined && !callbackAllowed({ ...jobs.vars, ...secrets }, callback)) {
      yield `the rule ${name} has a callback to a host that is not in CALLBACK_HOSTS, or there is no CALLBACK_SECRET`;
    }
  }
}

function* checkSecrets({ jobs, secrets }: Configuration): Generator<string> {
  if (secrets.TOKENS === undefined) yield "there is no secret TOKENS: set it, or generate it with --generate";
  else yield* errorsFrom(() => parseTokens(secrets));
  if (secrets.TOKEN === undefined) yield "there is no secret TOKEN: set it, or generate it with --generate";
  else if (!isToken(secrets.TOKEN)) {
    yield `the secret TOKEN must have at least ${MIN_TOKEN_LENGTH} characters, none of them blank`;
  }
  if (secrets.WEBHOOKS !== undefined) yield* checkWebhooks(secrets.WEBHOOKS);
  yield* errorsFrom(() => {
    const { buckets } = parseSourceSettings({ ...jobs.vars, SOURCE_KEYS: secrets.SOURCE_KEYS });
    const keyed = Object.keys(JSON.parse(secrets.SOURCE_KEYS ?? "{}"));
    const unknown = keyed.find((bucket) => !buckets.has(bucket));
    if (unknown)
      throw new Error(`SOURCE_KEYS has keys of the bucket ${unknown}, which SOURCES does not name`);
  });
  if (jobs.vars.CALLBACK_HOSTS && !secrets.CALLBACK_SECRET) {
    yield "CALLBACK_HOSTS is set, but there is no CALLBACK_SECRET to sign callbacks with";
  }
  yield* errorsFrom(() => readS3Access({ ...jobs.vars, SCANS_S3_KEYS: secrets.SCANS_S3_KEYS }));
  for (const [name, value] of Object.entries(secrets)) yield* checkSize(name, value);
}

function* checkWebhooks(text: string): Generator<string> {
  let kinds: unknown;
  try {
    kinds = JSON.parse(text);
  } catch {
    kinds = undefined;
  }
  const kind = kinds && typeof kinds === "object" ? Object.keys(kinds)[0] : undefined;
  // The check of any kind parses the whole value, even if that kind is not configured.
  yield* errorsFrom(() => parseWebhookSecrets({ WEBHOOKS: text }, (kind ?? "s3") as "s3"));
}

function isToken(token: string): boolean {
  return token.length >= MIN_TOKEN_LENGTH && !/\s/.test(token);
}

function* checkSize(name: string, value: string): Generator<string> {
  const byteLength = new TextEncoder().encode(value).length;
  if (byteLength > MAX_BINDING_BYTES) {
    yield `${name} has ${byteLength} bytes, a Worker's variable or secret at most ${MAX_BINDING_BYTES}`;
  }
}

/** Runs the Workers' own checks; their errors say what a binding must be, not its value. */
function* errorsFrom(check: () => unknown): Generator<string> {
  try {
    check();
  } catch (error) {
    yield (error as Error).message;
  }
}

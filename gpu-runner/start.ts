import type { Server } from "node:http";
import { type DestinationStream, destination, type Logger, pino } from "pino";
import { openProvider } from "../src/inference/node/open-provider.ts";
import type { ModelPackage } from "../src/model-package/load-package.ts";
import { VERSION } from "../src/orchestrator/version.ts";
import { pause } from "../src/storage/retry.ts";
import { AdmissionControl } from "./admission-control.ts";
import { createRunnerApp } from "./app.ts";
import { Batcher } from "./batcher.ts";
import { listen } from "./listen.ts";
import { createMetrics, type RunnerMetrics } from "./metrics.ts";
import { type OpenSessions, openSessions } from "./open-sessions.ts";
import { pullShards } from "./pull/pull-shards.ts";
import { QueueClient } from "./pull/queue-client.ts";
import { ShardWorker } from "./pull/shard-worker.ts";
import { WorkClient } from "./pull/work-client.ts";
import { Receiving } from "./receiving.ts";
import {
  checkRunnerOptions,
  deriveSettings,
  type PullFrom,
  type RunnerOptions,
  type RunnerSettings,
} from "./settings.ts";

export interface StartOptions extends RunnerOptions {
  model: ModelPackage;
  /** Opens a session; default `openProvider`. */
  open?: typeof openProvider;
  /** Maximum of open connections, without the reserve for health checks. */
  maxConnections?: number;
  /** Receives the log as JSON lines; default stderr. */
  logTo?: DestinationStream;
}

export interface Runner {
  url: URL;
  /** One line for the person who starts the runner. */
  sentence: string;
  /** Accepts no more work, finishes running requests, and ends. @returns whether all of them were answered in time */
  stop(): Promise<boolean>;
}

/** Time for the current run of a device after the shutdown timeout. */
const CLOSE_MS = 1000;
/** Concurrent windows of a pulled shard: enough for one batch of a GPU. */
const WINDOWS_PER_SHARD = 16;
const MAX_CONNECTIONS = 1024;

/** The parts of a running runner. */
interface RunnerParts {
  model: ModelPackage;
  opened: OpenSessions;
  settings: RunnerSettings;
  admission: AdmissionControl;
  receiving: Receiving;
  batcher: Batcher;
  metrics: RunnerMetrics;
  log: Logger;
}

/**
 * Opens the model, verifies it with its golden tile, and listens.
 * @throws {JobError} if the options do not fit, or the address is taken
 * @throws {InferenceError} if no allowed provider runs the model
 */
export async function startRunner(options: StartOptions): Promise<Runner> {
  checkRunnerOptions(options);
  const { model, pull } = options;
  const parts = await createParts(options);
  const { opened, settings, batcher, log } = parts;
  const app = createRunnerApp({
    ...parts,
    model: { manifest: model.manifest, hash: model.hash, golden: opened.golden },
    provider: opened.provider,
    sessions: opened.sessions.length,
  });
  const { server, url } = await listen(app, {
    host: options.host,
    port: options.port,
    maxConnections: options.maxConnections ?? MAX_CONNECTIONS,
  }).catch(async (error) => {
    await batcher.close();
    throw error;
  });
  logStart(parts, url);
  const stopPulling = new AbortController();
  const pulling = pull && startPulling(pull, parts, stopPulling.signal);
  const stop = async () => {
    log.info({ requests: parts.admission.inUse }, "draining");
    stopPulling.abort();
    return stopRunner(parts, server, pulling);
  };
  let stopped: Promise<boolean> | undefined;
  const { name, version } = model.manifest;
  const count = opened.sessions.length;
  const sessions = `${count} session${count === 1 ? "" : "s"}`;
  const pulls = pull ? `, pulling shards for ${new URL(pull.service).host}` : "";
  return {
    url,
    sentence: `runner at ${url.origin}: ${name} ${version} ${model.variantName} on ${opened.provider} (${batcher.info.runtime}), ${sessions}, batches of up to ${settings.maxBatch}${pulls}`,
    stop: () => (stopped ??= stop()),
  };
}

async function createParts(options: StartOptions): Promise<RunnerParts> {
  const { model, open = openProvider } = options;
  const log = pino({ base: undefined }, options.logTo ?? destination({ dest: 2, sync: true }));
  const opened = await openSessions(model, options, open, (name, error) =>
    log.warn({ provider: name, reason: error.message }, "a provider was passed over"),
  );
  const { provider, sessions } = opened;
  const settings = deriveSettings(options, provider, sessions.length);
  const admission = new AdmissionControl(settings.maxAdmitted);
  const receiving = new Receiving(settings.maxAdmitted * settings.maxBodyBytes);
  const metrics = createMetrics(
    {
      queuedWindows: () => batcher.queued,
      requests: () => admission.inUse,
      batchLimit: () => batcher.batchLimit,
      incomingBytes: () => receiving.bytes,
    },
    { model: model.manifest.name, variant: model.variantName, provider },
  );
  const batcher = new Batcher(sessions, {
    ...settings,
    onRun(run) {
      metrics.recordRun(run);
      if (run.outcome === "out_of_memory") log.warn({ ...run, limit: batcher.batchLimit }, "out of memory");
    },
  });
  return { model, opened, settings, admission, receiving, batcher, metrics, log };
}

function logStart({ model, opened, settings, batcher, log }: RunnerParts, url: URL): void {
  const { name, version } = model.manifest;
  const { token, ...limits } = settings;
  log.info(
    {
      version: VERSION,
      url: url.origin,
      provider: opened.provider,
      runtime: batcher.info.runtime,
      sessions: opened.sessions.length,
      model: { name, version, variant: model.variantName, hash: model.hash },
      golden: opened.golden,
      limits,
      asksForToken: token !== undefined,
    },
    "the runner listens",
  );
}

/** Pulls shards until `signal` is aborted. @returns settles when the last shard has ended */
function startPulling(
  { queue, queueToken, service, serviceToken }: PullFrom,
  { model, opened, settings, batcher, metrics, log }: RunnerParts,
  signal: AbortSignal,
): Promise<void> {
  const work = new WorkClient(service, serviceToken);
  const { manifest, hash } = model;
  const worker = new ShardWorker(work, { manifest, hash }, batcher, WINDOWS_PER_SHARD);
  // One more than there are sessions, so that reading and sending overlap with inference.
  const shards = opened.sessions.length + 1;
  log.info({ queue: new URL(queue).host, service: new URL(service).host, shards }, "pulling shards");
  return pullShards(
    {
      queue: new QueueClient(queue, queueToken),
      work,
      worker,
      shards,
      drainMs: settings.drainMs,
      log,
      onShard: (windows) => metrics.windows.inc(windows),
      onBacklog: (messages) => metrics.setBacklog(messages),
    },
    signal,
  ).finally(() => worker.close());
}

/** Drains and closes everything within the shutdown timeout. @returns whether all requests were answered */
async function stopRunner(
  { settings, admission, receiving, batcher, metrics, log }: RunnerParts,
  server: Server,
  pulling: Promise<void> | undefined,
): Promise<boolean> {
  const { drainMs } = settings;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), drainMs);
  });
  const drained = Promise.all([admission.drain(), pulling]);
  const answered = await Promise.race([drained.then(() => true), late]);
  clearTimeout(timer);
  // Requests whose body is still arriving get the response "draining" instead of a closed connection.
  for (let waited = 0; receiving.count > 0 && waited < CLOSE_MS; waited += 50) await pause(50);
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
  // A device that hangs must not keep the process alive, even if no client waits for it.
  const enough = new AbortController();
  const bound = pause(answered ? Math.max(CLOSE_MS, drainMs) : CLOSE_MS, enough.signal).catch(() => {});
  await Promise.race([batcher.close(), bound]);
  enough.abort();
  metrics.registry.clear();
  log.info({ answered }, "stopped");
  return answered;
}

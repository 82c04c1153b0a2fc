import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { type DestinationStream, destination, pino } from "pino";
import { openProvider } from "../src/inference/node/open-provider.ts";
import type { ModelPackage } from "../src/model-package/load-package.ts";
import { JobError } from "../src/orchestrator/errors.ts";
import { VERSION } from "../src/orchestrator/version.ts";
import { bodyOf, Problem } from "../src/service/problem.ts";
import { pause } from "../src/storage/retry.ts";
import { AdmissionControl } from "./admission-control.ts";
import { createRunnerApp } from "./app.ts";
import { Batcher } from "./batcher.ts";
import { withReserve } from "./connections.ts";
import { createMetrics } from "./metrics.ts";
import { openSessions } from "./open-sessions.ts";
import { pullShards } from "./pull/pull-shards.ts";
import { QueueClient } from "./pull/queue-client.ts";
import { ShardWorker } from "./pull/shard-worker.ts";
import { WorkClient } from "./pull/work-client.ts";
import { Receiving } from "./receiving.ts";
import { checkOptions, type PullFrom, type RunnerOptions, settingsFor } from "./settings.ts";

export interface StartOptions extends RunnerOptions {
  model: ModelPackage;
  /** What opens a session; default a provider of this machine. */
  open?: typeof openProvider;
  /** Connections for work, busy or not, that are held open; questions after health have some more. */
  maxConnections?: number;
  /** Where the log goes, a line of JSON each; default stderr. */
  logTo?: DestinationStream;
}

export interface Runner {
  url: URL;
  /** What a person who starts it is told. */
  sentence: string;
  /** Takes no more work, answers what is under way, and ends. @returns whether all of it was answered in time */
  stop(): Promise<boolean>;
}

/** For the run that a device is at, when the time to drain is over. */
const CLOSE_MS = 1000;
/** Windows of a pulled shard that are under way at a time: enough for a batch of a GPU. */
const TOGETHER = 16;
const MAX_CONNECTIONS = 1024;

/**
 * Opens the model, proves it with its golden tile, and listens.
 * @throws {JobError} when the options do not fit, or the address is taken
 * @throws {InferenceError} when no provider that may be taken runs the model
 */
export async function startRunner(options: StartOptions): Promise<Runner> {
  const { model, open = openProvider, host } = options;
  checkOptions(options);
  const log = pino({ base: undefined }, options.logTo ?? destination({ dest: 2, sync: true }));
  const { provider, sessions, golden } = await openSessions(model, options, open, (name, error) =>
    log.warn({ provider: name, reason: error.message }, "a provider was passed over"),
  );
  const settings = settingsFor(options, provider, sessions.length);
  const places = new AdmissionControl(settings.places);
  const receiving = new Receiving(settings.places * settings.maxBodyBytes);
  const { name, version } = model.manifest;
  const metrics = createMetrics(
    {
      queuedWindows: () => batcher.queued,
      requests: () => places.taken,
      batchLimit: () => batcher.batchLimit,
      incomingBytes: () => receiving.bytes,
    },
    { model: name, variant: model.variantName, provider },
  );
  const batcher = new Batcher(sessions, {
    ...settings,
    onRun(run) {
      metrics.ran(run);
      if (run.outcome === "out_of_memory") log.warn({ ...run, limit: batcher.batchLimit }, "out of memory");
    },
  });
  const app = createRunnerApp({
    settings,
    model: { manifest: model.manifest, hash: model.hash, golden },
    provider,
    sessions: sessions.length,
    batcher,
    places,
    receiving,
    metrics,
    log,
  });
  const reserve = withReserve(
    options.maxConnections ?? MAX_CONNECTIONS,
    getRequestListener(app.fetch, {
      errorHandler: () =>
        Response.json(bodyOf(new Problem(400, "bad_request", "the request is no HTTP that is served here")), {
          status: 400,
        }),
    }),
  );
  const server = createServer(
    {
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      headersTimeout: 20_000,
      requestTimeout: 0,
      connectionsCheckingInterval: 5000,
    },
    reserve.listener,
  );
  reserve.watch(server);
  const close = async () => {
    server.close();
    await batcher.close();
  };
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options.port, host, resolve);
    });
  } catch (cause) {
    await close();
    throw new JobError(
      `cannot listen at ${host}:${options.port} (${(cause as NodeJS.ErrnoException).code}): choose another --host or --port`,
      { cause },
    );
  }
  const { address, family, port } = server.address() as AddressInfo;
  const url = new URL(`http://${family === "IPv6" ? `[${address}]` : address}:${port}`);
  const { runtime } = batcher.info;
  const { token, ...limits } = settings;
  log.info(
    {
      version: VERSION,
      url: url.origin,
      provider,
      runtime,
      sessions: sessions.length,
      model: { name, version, variant: model.variantName, hash: model.hash },
      golden,
      limits,
      asksForToken: token !== undefined,
    },
    "the runner listens",
  );
  const stopPulling = new AbortController();
  const pulling = options.pull && startPulling(options.pull, stopPulling.signal);
  function startPulling({ queue, queueToken, service, serviceToken }: PullFrom, signal: AbortSignal) {
    const work = new WorkClient(service, serviceToken);
    const worker = new ShardWorker(work, { manifest: model.manifest, hash: model.hash }, batcher, TOGETHER);
    // Every session at one shard and one in line, so that reading and sending hide behind it.
    const shards = sessions.length + 1;
    const { drainMs } = settings;
    log.info({ queue: new URL(queue).host, service: new URL(service).host, shards }, "pulling shards");
    const counted = (windows: number) => metrics.windows.inc(windows);
    return pullShards(
      {
        queue: new QueueClient(queue, queueToken),
        work,
        worker,
        shards,
        drainMs,
        log,
        onShard: counted,
        onBacklog: (messages) => metrics.backlog(messages),
      },
      signal,
    ).finally(() => worker.close());
  }
  const stop = async () => {
    log.info({ requests: places.taken }, "draining");
    stopPulling.abort();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), settings.drainMs);
    });
    const drained = Promise.all([places.drain(), pulling]);
    const answered = await Promise.race([drained.then(() => true), late]);
    clearTimeout(timer);
    // Whose body is not whole yet is told to go elsewhere, not cut off.
    for (let waited = 0; receiving.count > 0 && waited < CLOSE_MS; waited += 50) await pause(50);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
    // A device that hangs must not hold the process either, also where nobody waits for its answer any more.
    const enough = new AbortController();
    const bound = pause(answered ? Math.max(CLOSE_MS, settings.drainMs) : CLOSE_MS, enough.signal).catch(
      () => {},
    );
    await Promise.race([batcher.close(), bound]);
    enough.abort();
    metrics.registry.clear();
    log.info({ answered }, "stopped");
    return answered;
  };
  let stopped: Promise<boolean> | undefined;
  return {
    url,
    sentence: `runner at ${url.origin}: ${name} ${version} ${model.variantName} on ${provider} (${runtime}), ${sessions.length} session${sessions.length === 1 ? "" : "s"}, batches of up to ${settings.maxBatch}${options.pull ? `, pulling shards for ${new URL(options.pull.service).host}` : ""}`,
    stop: () => (stopped ??= stop()),
  };
}

import type { HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import type { Logger } from "pino";
import type { ServiceInfo } from "../src/inference/remote/service-info.ts";
import { requireBearer } from "../src/service/bearer.ts";
import { checkBatch } from "../src/service/check-batch.ts";
import { describeModel, type VerifiedModel } from "../src/service/describe-model.ts";
import { HttpError, methodNotAllowed, toErrorBody } from "../src/service/http-error.ts";
import { discardBody, readBody } from "../src/service/read-body.ts";
import { detachBuffers } from "../src/tiling/wire/detach-buffers.ts";
import { encodeMaskBatch, MASK_BATCH_TYPE } from "../src/tiling/wire/mask-batch.ts";
import { decodeWindowBatch, WINDOW_BATCH_TYPE } from "../src/tiling/wire/window-batch.ts";
import type { AdmissionControl } from "./admission-control.ts";
import type { Batcher } from "./batcher.ts";
import { requireLoopbackHost } from "./loopback.ts";
import type { RunnerMetrics } from "./metrics.ts";
import { runnerProblem } from "./problems.ts";
import type { Receiving } from "./receiving.ts";
import { segmentWithBatcher } from "./segment-with-batcher.ts";
import type { RunnerSettings } from "./settings.ts";

export interface AppParts {
  settings: RunnerSettings;
  model: VerifiedModel;
  /** Execution provider: "cpu", "cuda" or "webgpu". */
  provider: string;
  sessions: number;
  batcher: Batcher;
  admission: AdmissionControl;
  receiving: Receiving;
  metrics: RunnerMetrics;
  log: Logger;
}

interface Env {
  Bindings: HttpBindings;
  /** For the log and the metrics. */
  Variables: { windows?: number; problem?: HttpError };
}

/** Polled every few seconds by monitoring: logged at debug level only. */
const DEBUG_PATHS = new Set(["/healthz", "/readyz", "/metrics"]);
const LOGGED_PATHS = new Set([...DEBUG_PATHS, "/v1/info", "/v1/segment"]);

/**
 * The routes of the runner. All but /healthz and /readyz require the token; without a token, a Host header of this
 * machine.
 */
export function createRunnerApp(parts: AppParts): Hono<Env> {
  const { settings, batcher, admission, receiving, metrics } = parts;
  const { token, maxBodyBytes, maxWindows, bodyTimeoutMs } = settings;
  const app = new Hono<Env>();

  app.use(async (c, next) => {
    const started = performance.now();
    await next();
    record(parts, c, performance.now() - started);
  });

  app.get("/healthz", (c) => c.json({ ok: true }));
  app.get("/readyz", (c) => {
    const reason = admission.draining ? "draining" : batcher.healthy ? undefined : "failing";
    return reason ? c.json({ ready: false, reason }, 503) : c.json({ ready: true });
  });

  app.use(async (c, next) => {
    // Without a token the runner listens on loopback only.
    if (token === undefined) requireLoopbackHost(c.req.header("Host"));
    else await requireBearer(c.req.header("Authorization"), token);
    await next();
  });

  app.get("/metrics", async (c) =>
    c.body(await metrics.registry.metrics(), 200, { "Content-Type": metrics.registry.contentType }),
  );
  app.get("/v1/info", (c) => c.json(describe(parts)));

  app.post("/v1/segment", async (c) => {
    if (admission.draining) await rejectWhileDraining(c, admission, settings);
    const { outgoing } = c.env;
    const { signal } = c.req.raw;
    const bytes = await readBody(c.req.raw, {
      contentType: WINDOW_BATCH_TYPE,
      maxBytes: maxBodyBytes,
      timeoutMs: bodyTimeoutMs,
      chunks: receiving.chunks(c.env.incoming),
    });
    // After the body: a slow client must not occupy a slot.
    const release = admission.acquire();
    // Until the response is sent: it is in memory while the client reads it.
    outgoing.once("close", release);
    if (outgoing.closed) release();
    metrics.bytes.inc({ direction: "in" }, bytes.length);
    const batch = decodeWindowBatch(bytes);
    checkBatch(batch, { hash: parts.model.hash, info: batcher.info }, maxWindows);
    const segmented = await segmentWithBatcher(batch, batcher, signal);
    const masks = encodeMaskBatch(segmented);
    // Pixels and records are not needed any more.
    detachBuffers(bytes, ...segmented.records.map(({ data }) => data));
    // Not if the client disconnects: the system may still read the buffer.
    outgoing.once("close", () => outgoing.writableFinished && detachBuffers(masks));
    c.set("windows", batch.windows.length);
    metrics.windows.inc(batch.windows.length);
    metrics.bytes.inc({ direction: "out" }, masks.length);
    outgoing.setTimeout(bodyTimeoutMs);
    return c.body(masks, 200, { "Content-Type": MASK_BATCH_TYPE });
  });

  for (const path of ["/v1/info", "/healthz", "/readyz", "/metrics"]) app.all(path, methodNotAllowed("GET"));
  app.all("/v1/segment", methodNotAllowed("POST"));
  app.notFound((c) => sendError(c, new HttpError(404, "not_found", `there is no route ${c.req.path}`)));
  app.onError((error, c) => {
    if (c.req.raw.signal.aborted)
      return sendError(c, new HttpError(400, "client_gone", "the client disconnected"));
    const problem = runnerProblem(error);
    if (
      problem.status >= 500 &&
      problem !== error &&
      problem.code !== "busy" &&
      problem.code !== "draining"
    ) {
      parts.log.error({ err: error, code: problem.code }, "a request failed");
    }
    return sendError(c, problem);
  });
  return app;
}

/** Reads the body before rejecting, so that the client receives the response. @throws {RunnerError} */
async function rejectWhileDraining(
  c: Context<Env>,
  admission: AdmissionControl,
  { maxBodyBytes, bodyTimeoutMs }: RunnerSettings,
): Promise<void> {
  await discardBody(c.req.raw, { maxBytes: maxBodyBytes, timeoutMs: bodyTimeoutMs });
  admission.acquire()();
}

function describe({ settings, model, provider, sessions, batcher }: AppParts): ServiceInfo {
  const { maxWindows, maxBodyBytes, requests } = settings;
  const { info, batchLimit } = batcher;
  return {
    ...(describeModel(model, info) as Required<ReturnType<typeof describeModel>>),
    limits: { maxWindows, maxBodyBytes, requests },
    runtime: { name: info.runtime, provider, sessions, batch: batchLimit },
  };
}

function sendError(c: Context<Env>, problem: HttpError): Response {
  c.set("problem", problem);
  return c.json(toErrorBody(problem), problem.status, problem.headers);
}

/** Logs neither tokens nor pixels, and unknown paths as "other": they may contain the name of a patient's file. */
function record({ metrics, log }: AppParts, c: Context<Env>, milliseconds: number): void {
  const route = LOGGED_PATHS.has(c.req.path) ? c.req.path : "other";
  const { status } = c.res;
  const code = c.get("problem")?.code;
  if (code) metrics.errors.inc({ code });
  if (route === "/v1/segment") metrics.requestSeconds.observe(milliseconds / 1000);
  const level = DEBUG_PATHS.has(route) ? "debug" : "info";
  log[level](
    { method: c.req.method, route, status, code, windows: c.get("windows"), ms: Math.round(milliseconds) },
    "request",
  );
}

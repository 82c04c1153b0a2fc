import { Hono } from "hono";
import { requireBearer } from "../../service/bearer.ts";
import { checkBatch } from "../../service/check-batch.ts";
import { HttpError, methodNotAllowed, toErrorBody, toHttpError } from "../../service/http-error.ts";
import { discardBody, readBody } from "../../service/read-body.ts";
import { encodeMaskBatch, MASK_BATCH_TYPE } from "../../tiling/wire/mask-batch.ts";
import { decodeWindowBatch, WINDOW_BATCH_TYPE } from "../../tiling/wire/window-batch.ts";
import { configuredToken } from "../shared/configured-token.ts";
import { ExpiringSemaphore } from "./expiring-semaphore.ts";
import { describeRuntime, type Info } from "./info.ts";
import type { ModelHost } from "./model-host.ts";
import { segmentBatch } from "./segment-batch.ts";
import { parseSettings, type SegmentBindings } from "./settings.ts";

/** Concurrent requests with pixels in memory: one computes, one is read. */
const MAX_REQUESTS = 2;
/** Maximum time in which a slow sender blocks others. */
const BODY_MS = 30_000;
/** Longer than any request: see limits.cpu_ms in wrangler.toml. */
const MAX_REQUEST_AGE_MS = 120_000;

/** The routes of the Worker that segments windows. All routes but /healthz require the bearer token. */
export function createSegmentApp(host: ModelHost): Hono<{ Bindings: SegmentBindings }> {
  const app = new Hono<{ Bindings: SegmentBindings }>();
  const requests = new ExpiringSemaphore(MAX_REQUESTS, MAX_REQUEST_AGE_MS);

  app.get("/healthz", (c) => c.json({ ok: true }));

  app.use("/v1/*", async (c, next) => {
    await requireBearer(c.req.header("Authorization"), configuredToken(c.env.TOKEN));
    const answered = next();
    // A client that disconnects must not cut off a load or a run that other requests wait for.
    c.executionCtx.waitUntil(answered);
    await answered;
  });

  app.get("/v1/info", async (c) => {
    try {
      const settings = parseSettings(c.env);
      const model = await host.model(settings);
      return c.json({ ...describeRuntime(settings, host.heapBytes, model) } satisfies Info);
    } catch (error) {
      // The probe matters most where the runtime does not start.
      const httpError = toLoggedError(error);
      return c.json({ ...toErrorBody(httpError), ...describeRuntime() }, httpError.status, httpError.headers);
    }
  });

  app.post("/v1/segment", async (c) => {
    const settings = parseSettings(c.env);
    const release = requests.tryAcquire(Date.now());
    if (!release) {
      await discardBody(c.req.raw, { maxBytes: settings.maxBodyBytes });
      throw new HttpError(503, "busy", "this isolate is busy; try again soon", { "Retry-After": "1" });
    }
    try {
      const bytes = await readBody(c.req.raw, {
        contentType: WINDOW_BATCH_TYPE,
        maxBytes: settings.maxBodyBytes,
        timeoutMs: BODY_MS,
      });
      const batch = decodeWindowBatch(bytes);
      const model = await host.model(settings);
      checkBatch(batch, { hash: model.hash, info: model.segmenter.info }, settings.maxWindows);
      const masks = encodeMaskBatch(await segmentBatch(batch, model));
      return c.body(masks, 200, { "Content-Type": MASK_BATCH_TYPE });
    } finally {
      release();
    }
  });

  app.all("/v1/info", methodNotAllowed("GET"));
  app.all("/v1/segment", methodNotAllowed("POST"));
  app.notFound((c) =>
    c.json(toErrorBody(new HttpError(404, "not_found", `there is no ${c.req.path} here`)), 404),
  );
  app.onError((error, c) => {
    const httpError = toLoggedError(error);
    return c.json(toErrorBody(httpError), httpError.status, httpError.headers);
  });
  return app;
}

/** Logs errors whose details the caller does not get. */
function toLoggedError(error: unknown): HttpError {
  const httpError = toHttpError(error);
  if (httpError.status >= 500 && httpError !== error) console.error(error);
  return httpError;
}

import { Hono } from "hono";
import { requireBearer } from "../../service/bearer.ts";
import { checkBatch } from "../../service/check-batch.ts";
import { bodyOf, methodNotAllowed, Problem, problemOf } from "../../service/problem.ts";
import { discardBody, readBody } from "../../service/read-body.ts";
import { encodeMaskBatch, MASK_BATCH_TYPE } from "../../tiling/wire/mask-batch.ts";
import { decodeWindowBatch, WINDOW_BATCH_TYPE } from "../../tiling/wire/window-batch.ts";
import { configuredToken } from "../shared/configured-token.ts";
import { Leases } from "./expiring-semaphore.ts";
import { describeRuntime, type Info } from "./info.ts";
import type { ModelHost } from "./model-host.ts";
import { segmentBatch } from "./segment-batch.ts";
import { type Bindings, settingsOf } from "./settings.ts";

/** Requests whose pixels are in memory at a time: one computes, one is read. */
const PLACES = 2;
/** A slow sender keeps a place from others for no longer. */
const BODY_MS = 30_000;
/** No request takes longer: limits.cpu_ms in wrangler.toml. */
const PLACE_MAX_AGE_MS = 120_000;

/** The routes of the Worker that segments windows. Everything but /healthz asks for the bearer token. */
export function createApp(host: ModelHost): Hono<{ Bindings: Bindings }> {
  const app = new Hono<{ Bindings: Bindings }>();
  const places = new Leases(PLACES, PLACE_MAX_AGE_MS);

  app.get("/healthz", (c) => c.json({ ok: true }));

  app.use("/v1/*", async (c, next) => {
    await requireBearer(c.req.header("Authorization"), configuredToken(c.env.TOKEN));
    const answered = next();
    // A client that goes away must not cut off a load or a run that others wait for.
    c.executionCtx.waitUntil(answered);
    await answered;
  });

  app.get("/v1/info", async (c) => {
    try {
      const settings = settingsOf(c.env);
      const model = await host.model(settings);
      return c.json({ ...describeRuntime(settings, host.heapBytes, model) } satisfies Info);
    } catch (error) {
      // The probe is wanted most where the runtime does not start.
      const problem = logged(error);
      return c.json({ ...bodyOf(problem), ...describeRuntime() }, problem.status, problem.headers);
    }
  });

  app.post("/v1/segment", async (c) => {
    const settings = settingsOf(c.env);
    const leave = places.take(Date.now());
    if (!leave) {
      await discardBody(c.req.raw, { maxBytes: settings.maxBodyBytes });
      throw new Problem(503, "busy", "this isolate is at work; try again soon", { "Retry-After": "1" });
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
      leave();
    }
  });

  app.all("/v1/info", methodNotAllowed("GET"));
  app.all("/v1/segment", methodNotAllowed("POST"));
  app.notFound((c) => c.json(bodyOf(new Problem(404, "not_found", `there is no ${c.req.path} here`)), 404));
  app.onError((error, c) => {
    const problem = logged(error);
    return c.json(bodyOf(problem), problem.status, problem.headers);
  });
  return app;
}

/** Errors of ours come back as they are; the log keeps what the caller is not told. */
function logged(error: unknown): Problem {
  const problem = problemOf(error);
  if (problem.status >= 500 && problem !== error) console.error(error);
  return problem;
}

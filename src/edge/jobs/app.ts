import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import { HTTPException } from "hono/http-exception";
import { HttpError, toHttpError } from "../../service/http-error.ts";
import { discardBody } from "../../service/read-body.ts";
import { R2Store } from "../../storage/r2-store.ts";
import { jobKeys } from "../shared/job-keys.ts";
import { jsonContent } from "../shared/open-api.ts";
import { allowOrigins } from "./auth/cors.ts";
import { requireAccess, requireScope } from "./auth/require-scope.ts";
import { createCohortRoutes } from "./cohorts/routes.ts";
import type { Bindings } from "./context/bindings.ts";
import { getConfiguredModel, requireConfiguredModel } from "./context/configured-model.ts";
import { getMessageDeduplicator } from "./events/message-deduplicator.ts";
import { createWebhookRoutes } from "./events/webhook-routes.ts";
import { getPulse } from "./health/pulse.ts";
import { createRequestedJob } from "./lifecycle/create-job.ts";
import { createJobRoutes } from "./lifecycle/job-routes.ts";
import { createModelRoutes } from "./models/routes.ts";
import { describeApi } from "./open-api-document.ts";
import { JOB_ID } from "./outputs/output-path.ts";
import { createReadLinkRoutes } from "./outputs/read-link-routes.ts";
import { createOutputRoutes } from "./outputs/routes.ts";
import { createRunningLabelRoutes } from "./outputs/running-labels.ts";
import { createWorkRoutes } from "./runner-api/routes.ts";
import { createUploadSourceRoutes } from "./runner-api/upload-source.ts";
import { createViewerRoutes } from "./runner-api/viewer-routes.ts";
import { createFolderRoutes, type FolderRouteOptions } from "./uploads/folder-routes.ts";
import { publishUploadEvent } from "./uploads/publish-upload-event.ts";
import { createUploadRoutes } from "./uploads/routes.ts";

const HEALTH_CACHE_MS = 1000;
/** Bytes of a rejected body that are read: the largest body of any route. */
const MAX_DISCARDED_BYTES = 64 * 2 ** 20;

const health = createRoute({
  method: "get",
  path: "/healthz",
  summary: "Whether the service runs, and its queues and alarms work",
  security: [],
  responses: {
    200: jsonContent(z.object({ ok: z.literal(true) }), "It runs."),
    503: jsonContent(z.object({ ok: z.literal(false), reason: z.string() }), "Jobs make no progress."),
  },
});

/** All routes of the job service. Webhooks authenticate senders themselves; /healthz and the OpenAPI document are public. */
export function createJobsApp(): OpenAPIHono<{ Bindings: Bindings }> {
  const app = new OpenAPIHono<{ Bindings: Bindings }>();
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", { type: "http", scheme: "bearer" });
  app.use(async (c, next) => {
    await next();
    // A response before the end of the body would break the connection, and the client would not get the error.
    if (c.res.status >= 400 && c.req.raw.body && !c.req.raw.bodyUsed) {
      await discardBody(c.req.raw, { maxBytes: MAX_DISCARDED_BYTES }).catch(() => {});
    }
  });
  app.openapi(health, async (c) => {
    const reason = await findStandstill(c.env);
    if (reason === undefined) return c.json({ ok: true as const }, 200);
    return c.json({ ok: false as const, reason }, 503, { "Retry-After": "15" });
  });
  // Before authorization: a browser asks without a token whether it may send one.
  app.use("/v1/*", allowOrigins());
  app.use("/v1/jobs/*", requireAccess());
  // Deleting is final.
  app.on("DELETE", "/v1/jobs/:id/data", requireScope("admin"));
  app.on("DELETE", "/v1/cohorts/:id", requireScope("admin"));
  app.use("/v1/cohorts/*", requireAccess());
  app.use("/v1/uploads/*", requireAccess());
  app.use("/v1/folders/*", requireAccess());
  app.use("/v1/work/*", requireScope("work"));
  // Beside the scope read, which every route of a job needs.
  app.use("/v1/jobs/:id/source", requireScope("source"));
  app.use("/v1/jobs/:id/source/*", requireScope("source"));
  app.use("/v1/uploads/:id/source/*", requireScope("source"));
  app.use("/v1/model", requireScope("read"));
  app.use("/v1/model/files/*", requireScope("submit"));
  // A running job has written some objects already; only those of a job that is done are results.
  app.use("/v1/jobs/:id/outputs/*", async (c, next) => {
    const id = c.req.param("id");
    const done = JOB_ID.test(id) && (await new R2Store(c.env.RESULTS!).head(jobKeys.manifest(id)));
    if (!done) throw new HttpError(404, "no_results", "the job has no results, or none yet");
    await next();
  });
  app.route("/", createJobRoutes());
  app.route("/", createCohortRoutes());
  app.route("/", createOutputRoutes());
  app.route("/", createReadLinkRoutes());
  app.route("/", createRunningLabelRoutes());
  app.route("/", createWorkRoutes());
  app.route("/", createViewerRoutes());
  app.route("/", createUploadSourceRoutes());
  app.route("/", createModelRoutes());
  app.route("/", createUploadRoutes({ onCompleted: publishUploadEvent, check: checkModel }));
  app.route("/", createFolderRoutes({ start: startFolderJob, check: checkModel }));
  app.route(
    "/",
    createWebhookRoutes<{ Bindings: Bindings }>((env) => ({
      accept: async (event) => {
        await env.EVENTS!.send(event);
      },
      seen: (id) => getMessageDeduplicator(env).has(id),
      remember: (id) => getMessageDeduplicator(env).add(id),
    })),
  );
  app.get("/v1/openapi.json", (c) => c.json(describeApi(app)));
  app.notFound((c) =>
    toErrorResponse(new HttpError(404, "not_found", `there is no ${c.req.method} ${c.req.path} here`)),
  );
  app.onError((error) => toErrorResponse(error));
  return app;
}

/** Cached per isolate, because /healthz is public. */
let lastHealth: { at: number; reason: string | undefined } | undefined;

async function findStandstill(env: Bindings): Promise<string | undefined> {
  const now = Date.now();
  if (lastHealth && now - lastHealth.at < HEALTH_CACHE_MS) return lastHealth.reason;
  let reason: string | undefined;
  try {
    reason = await getPulse(env)?.check();
  } catch (error) {
    console.error(error);
    reason = "the ledgers cannot be reached";
  }
  lastHealth = { at: now, reason };
  return reason;
}

const checkModel: FolderRouteOptions["check"] = async (env, asked) => {
  if (asked.model !== undefined || asked.variant !== undefined)
    requireConfiguredModel(await getConfiguredModel(env), asked);
};

/** Starts the job directly: storage events concern single files. */
const startFolderJob: FolderRouteOptions["start"] = async (env, source, request) => {
  const { status } = await createRequestedJob(env, { ...request, source }, { again: true });
  return status.id;
};

/** Unknown errors give an id of the log entry and no detail. */
function toErrorResponse(error: unknown): Response {
  // Thrown by Hono for bodies that are not JSON.
  const httpError =
    error instanceof HTTPException && error.status === 400
      ? new HttpError(400, "bad_request", "the body is not valid JSON")
      : toHttpError(error);
  const { code, message, status, headers } = httpError;
  if (status < 500 || httpError === error)
    return Response.json({ error: { code, message } }, { status, headers });
  const id = crypto.randomUUID();
  console.error(id, error);
  return Response.json({ error: { code, message, id } }, { status, headers });
}

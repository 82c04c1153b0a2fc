import { createRoute, z } from "@hono/zod-openapi";
import { bodyLimit } from "hono/body-limit";
import { HttpError } from "../../../service/http-error.ts";
import { readBody } from "../../../service/read-body.ts";
import { shardAt } from "../../../tiling/grid/shards.ts";
import { decodeMaskBatch, MASK_BATCH_TYPE } from "../../../tiling/wire/mask-batch.ts";
import { jobKeys } from "../../shared/job-keys.ts";
import { getLedger } from "../../shared/ledger-port.ts";
import { createOpenApiApp, errorContent, jsonContent } from "../../shared/open-api.ts";
import { readPlan } from "../../shared/read-plan.ts";
import { resultsStore } from "../../shared/results-store.ts";
import type { Bindings } from "../context/bindings.ts";
import { JOB_ID } from "../outputs/output-path.ts";
import { readJobDocument } from "./job-document.ts";
import { describeSourceRoute, jobSource, sendSource, sourceObjects } from "./source-routes.ts";

/** Records of a shard have at most 6 MiB (orchestrator/map/edge-shards.ts), plus a header. */
const MAX_RECORDS_BYTES = 8 * 2 ** 20;
const MAX_EVENT_BYTES = 4096;

const jobParams = z.object({ job: z.string().regex(JOB_ID, "must be a job's id") });
const shardParams = jobParams.extend({ shard: z.string().regex(/^\d{1,9}$/, "must be a shard's number") });
const failures = {
  401: errorContent("the token is missing or wrong"),
  403: errorContent("the token lacks the scope work"),
  404: errorContent("there is no such job or shard"),
};

const count = z.number().nonnegative().max(1e12);
/** Events of a shard, from the runner that works on it. */
const eventSchema = z
  .discriminatedUnion("event", [
    /** Claims the shard. */
    z.object({ event: z.literal("take") }),
    /** Heartbeat. */
    z.object({ event: z.literal("alive") }),
    /** Its records are stored. */
    z.object({
      event: z.literal("done"),
      report: z.object({
        windows: count,
        bytesRead: count.optional(),
        modelMilliseconds: count.optional(),
        runtime: z.string().max(200).optional(),
      }),
    }),
    /** An attempt failed; another may succeed. */
    z.object({ event: z.literal("tried"), message: z.string().max(500) }),
    /** A terminal failure: the job ends. */
    z.object({
      event: z.literal("failed"),
      code: z.string().regex(/^[a-z_]{1,40}$/),
      message: z.string().max(1000),
    }),
  ])
  .openapi("ShardEvent");

const planRoute = createRoute({
  method: "get",
  path: "/v1/work/{job}/plan",
  summary: "The plan of a job, for runners",
  request: { params: jobParams },
  responses: {
    200: { description: "the plan", content: { "application/octet-stream": { schema: z.any() } } },
    ...failures,
  },
});
const objectsRoute = createRoute({
  method: "get",
  path: "/v1/work/{job}/objects",
  summary: "Objects below the source of a job, where the source is a prefix",
  request: { params: jobParams },
  responses: {
    200: jsonContent(
      z.object({ objects: z.array(z.object({ key: z.string(), etag: z.string(), byteLength: z.int() })) }),
      "the objects; empty for a source that is one object or a Zarr",
    ),
    409: errorContent("the source was replaced since the job was created"),
    ...failures,
  },
});
const eventRoute = createRoute({
  method: "post",
  path: "/v1/work/{job}/shards/{shard}",
  summary: "Report an event of a shard to the ledger",
  request: {
    params: shardParams,
    body: { required: true, content: { "application/json": { schema: eventSchema } } },
  },
  responses: {
    200: jsonContent(
      z.object({ run: z.boolean().openapi({ description: "Whether the shard is still open." }) }),
      "noted",
    ),
    409: errorContent("the records are missing"),
    413: errorContent("the body is too large"),
    422: errorContent("the event is invalid"),
    ...failures,
  },
});
const recordsRoute = createRoute({
  method: "put",
  path: "/v1/work/{job}/shards/{shard}/records",
  summary: "Store the mask records of a shard; stored records never change",
  request: { params: shardParams, body: { content: { [MASK_BATCH_TYPE]: { schema: z.any() } } } },
  responses: {
    204: { description: "they are there" },
    400: errorContent("the body is not a mask batch"),
    409: errorContent("the records are of another model, shape or shard"),
    411: errorContent("the length of the body is not stated"),
    413: errorContent("the body is too large"),
    ...failures,
  },
});

/**
 * `/v1/work`: the API for runners. A runner pulls messages from the queue; with a token of the scope `work` it reads plans
 * and pixels here, and stores records.
 */
export function createWorkRoutes() {
  const app = createOpenApiApp<{ Bindings: Bindings }>();

  app.openapi(planRoute, async (c) => {
    const { job } = c.req.valid("param");
    const plan = await resultsStore(c.env.RESULTS!).get(jobKeys.plan(job));
    if (!plan) throw new HttpError(404, "plan_missing", "the job has ended, or was never planned");
    const headers = { "Content-Type": "application/octet-stream", "Cache-Control": "no-store" };
    return new Response(plan.bytes as Uint8Array<ArrayBuffer>, { headers });
  });

  app.openapi(objectsRoute, async (c) => {
    return c.json({ objects: await sourceObjects(c.env, c.req.valid("param").job) }, 200);
  });

  // Documented by hand, matched by Hono.
  app.openAPIRegistry.registerPath(
    describeSourceRoute(
      "/v1/work/{job}/source/{path}",
      "The source of a job, or an object below it, by range",
      jobParams,
      failures,
    ),
  );
  app.get("/v1/work/:job/source/:path{.+}", async (c) =>
    sendSource(c, await jobSource(c.env, c.req.param("job"))),
  );

  app.use(
    "/v1/work/:job/shards/:shard",
    bodyLimit({
      maxSize: MAX_EVENT_BYTES,
      onError: () => {
        throw new HttpError(413, "too_large", `the body may have at most ${MAX_EVENT_BYTES} bytes`);
      },
    }),
  );
  app.openapi(eventRoute, async (c) => {
    const { job, shard } = c.req.valid("param");
    const event = c.req.valid("json");
    const id = Number(shard);
    await readJobDocument(c.env, job);
    const ledger = getLedger(c.env.LEDGERS!, job);
    switch (event.event) {
      case "take":
        return c.json({ run: (await ledger.claim("shard", id)) === "run" }, 200);
      case "alive":
        await ledger.heartbeat();
        break;
      case "done":
        // Otherwise missing records would be noticed only in the merge phase.
        if (!(await resultsStore(c.env.RESULTS!).head(jobKeys.records(job, id)))) {
          throw new HttpError(409, "records_missing", `there are no records of shard ${id}: send them first`);
        }
        await ledger.done("shard", id, event.report);
        break;
      case "tried":
        await ledger.recordFailedAttempt("shard", id, event.message);
        break;
      case "failed":
        await ledger.fail(event.code, event.message);
        break;
    }
    return c.json({ run: false }, 200);
  });

  app.openapi(recordsRoute, async (c) => {
    const { job, shard } = c.req.valid("param");
    const bytes = await readBody(c.req.raw, {
      contentType: MASK_BATCH_TYPE,
      maxBytes: MAX_RECORDS_BYTES,
    });
    const batch = decodeMaskBatch(bytes);
    const { plan, job: document } = await plannedJob(c.env, job);
    const planned = shardAt(plan.grid, plan.kept, plan.shardBlock, Number(shard));
    if (!planned) throw new HttpError(404, "shard_missing", `the job has no shard ${shard}`);
    const { model } = document;
    const [classes, ...window] = batch.shape;
    if (
      batch.model !== model.hash ||
      batch.variant !== model.variant ||
      batch.precision !== plan.precision ||
      window.join() !== plan.grid.window.join() ||
      batch.records.map((r) => r.window).join() !== planned.windows.join()
    ) {
      throw new HttpError(
        409,
        "wrong_records",
        `these are not the records of shard ${shard}: ${batch.records.length} of ${classes}×${window.join("×")} by ${batch.variant}`,
      );
    }
    await resultsStore(c.env.RESULTS!).put(jobKeys.records(job, Number(shard)), bytes, { ifNoneMatch: "*" });
    return c.body(null, 204);
  });
  return app;
}

async function plannedJob(env: Bindings, job: string) {
  try {
    return await readPlan(env.RESULTS!, job);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new HttpError(404, "plan_missing", "the job has ended, or was never planned", {});
  }
}

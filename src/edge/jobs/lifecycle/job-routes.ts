import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { streamSSE } from "hono/streaming";
import {
  isFinal,
  type JobStatus,
  jobRequestSchema,
  jobStatusSchema,
} from "../../../contracts/job-request.ts";
import { HttpError } from "../../../service/http-error.ts";
import { getLedger } from "../../shared/ledger-port.ts";
import { limitBody } from "../../shared/limit-body.ts";
import { createOpenApiApp, jsonContent, refusal } from "../../shared/open-api.ts";
import type { Bindings } from "../context/bindings.ts";
import { createRequestedJob } from "./create-job.ts";
import { removeAll } from "./remove-work.ts";

/** Far more than a request that fits has. */
const MAX_BODY_BYTES = 64 * 1024;
const POLL_MS = 1000;
/** Proxies cut connections on which nothing moves. */
const HEARTBEAT_MS = 15_000;

const id = z.object({
  id: z
    .string()
    .regex(/^[0-9a-f]{32}$/, "must be a job's id")
    .openapi({ param: { name: "id", in: "path" } }),
});
const statusSchema = jobStatusSchema.openapi("JobStatus");
const status = (description: string) => jsonContent(statusSchema, description);
const failures = { 401: refusal("no token, or a wrong one"), 403: refusal("a token without the scope") };

const create = createRoute({
  method: "post",
  path: "/v1/jobs",
  summary: "Start a job, or find it where the same was asked before",
  request: {
    body: {
      required: true,
      content: { "application/json": { schema: jobRequestSchema.openapi("JobRequest") } },
    },
  },
  responses: {
    200: status("the job is there already"),
    202: status("the job is started"),
    404: refusal("there is no such source"),
    413: refusal("the body is too large"),
    415: refusal("the body is no JSON"),
    422: refusal("the request does not fit, its source may not be read, or its model is not served"),
    503: refusal("the source cannot be read now"),
    504: refusal("the source did not answer in time"),
    ...failures,
  },
});
const show = createRoute({
  method: "get",
  path: "/v1/jobs/{id}",
  summary: "How a job stands",
  request: { params: id },
  responses: { 200: status("the job"), 404: refusal("there is no such job"), ...failures },
});
const cancel = createRoute({
  method: "delete",
  path: "/v1/jobs/{id}",
  summary: "Cancel a job; what it has made is removed",
  request: { params: id },
  responses: {
    200: status("the job, cancelled"),
    404: refusal("there is no such job"),
    409: refusal("the job has ended already"),
    ...failures,
  },
});
const remove = createRoute({
  method: "delete",
  path: "/v1/jobs/{id}/data",
  summary: "Remove all that is kept of a job that has ended: its results and its record. The scan stays",
  request: { params: id },
  responses: {
    204: { description: "nothing of it is left" },
    404: refusal("there is no such job"),
    409: refusal("the job is under way: cancel it first"),
    ...failures,
  },
});
const events = createRoute({
  method: "get",
  path: "/v1/jobs/{id}/events",
  summary: "Follow a job: server-sent events named status, each with the job's status, until it ends",
  request: { params: id },
  responses: {
    200: { description: "the events", content: { "text/event-stream": { schema: z.string() } } },
    404: refusal("there is no such job"),
    ...failures,
  },
});

/** `/v1/jobs`: start, look at, follow and cancel jobs. Who may is decided before. */
export function createJobRoutes(): OpenAPIHono<{ Bindings: Bindings }> {
  const app = createOpenApiApp<{ Bindings: Bindings }>();

  app.use("/v1/jobs", limitBody(MAX_BODY_BYTES));

  app.openapi(create, async (c) => {
    const { created, status } = await createRequestedJob(c.env, c.req.valid("json"), { again: true });
    return c.json(status, created ? 202 : 200);
  });

  app.openapi(show, async (c) => c.json(await requireStatus(c.env, c.req.valid("param").id), 200));

  app.openapi(cancel, async (c) => {
    const { id } = c.req.valid("param");
    const before = await requireStatus(c.env, id);
    if (before.state !== "cancelled" && isFinal(before.state)) {
      throw new HttpError(409, "job_ended", `the job is ${before.state} already`);
    }
    await getLedger(c.env.LEDGERS!, id).cancel();
    return c.json(await requireStatus(c.env, id), 200);
  });

  app.openapi(remove, async (c) => {
    const { id } = c.req.valid("param");
    const { state } = await requireStatus(c.env, id);
    if (!isFinal(state)) throw new HttpError(409, "job_running", `the job is ${state}: cancel it first`);
    // The record last: whoever is cut off in between asks again and is not told that there is no such job.
    await removeAll(c.env, id);
    if (!(await getLedger(c.env.LEDGERS!, id).delete())) {
      throw new HttpError(
        409,
        "job_running",
        "the job was started again meanwhile and failed for it: remove it again",
      );
    }
    return c.body(null, 204);
  });

  app.openapi(events, async (c) => {
    const { id } = c.req.valid("param");
    await requireStatus(c.env, id);
    c.header("Cache-Control", "no-store");
    return streamSSE(c, async (stream) => {
      let told = "";
      let toldAt = 0;
      while (!stream.aborted) {
        const now = await requireStatus(c.env, id);
        const data = JSON.stringify(now);
        if (data !== told) {
          await stream.writeSSE({ event: "status", data });
          told = data;
          toldAt = Date.now();
        } else if (Date.now() - toldAt > HEARTBEAT_MS) {
          await stream.write(": still there\n\n");
          toldAt = Date.now();
        }
        if (isFinal(now.state)) return;
        await stream.sleep(POLL_MS);
      }
    });
  });
  return app;
}

async function requireStatus({ LEDGERS }: Bindings, id: string): Promise<JobStatus> {
  const status = await getLedger(LEDGERS!, id).status();
  if (!status) throw new HttpError(404, "job_missing", `there is no job ${id}`);
  return status;
}

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { streamSSE } from "hono/streaming";
import {
  isFinal,
  JOB_STATES,
  type JobStatus,
  jobRequestSchema,
  jobStatusSchema,
  MAX_JOB_REQUEST_BYTES,
} from "../../../contracts/job-request.ts";
import { HttpError } from "../../../service/http-error.ts";
import { getLedger } from "../../shared/ledger-port.ts";
import { limitBody } from "../../shared/limit-body.ts";
import { createOpenApiApp, errorContent, jsonContent } from "../../shared/open-api.ts";
import type { Bindings } from "../context/bindings.ts";
import { LIST_CURSOR } from "../listing/newest-first.ts";
import { createRequestedJob } from "./create-job.ts";
import { listJobs, removeFromIndex } from "./job-index.ts";
import { removeAll } from "./remove-work.ts";

const POLL_MS = 1000;
/** Proxies close idle connections. */
const HEARTBEAT_MS = 15_000;

const id = z.object({
  id: z
    .string()
    .regex(/^[0-9a-f]{32}$/, "must be a job's id")
    .openapi({ param: { name: "id", in: "path" } }),
});
const statusSchema = jobStatusSchema.openapi("JobStatus");
const status = (description: string) => jsonContent(statusSchema, description);
const failures = {
  401: errorContent("the token is missing or wrong"),
  403: errorContent("a token without the scope"),
};

const create = createRoute({
  method: "post",
  path: "/v1/jobs",
  summary: "Start a job, or find the job of an equal request",
  request: {
    body: {
      required: true,
      content: { "application/json": { schema: jobRequestSchema.openapi("JobRequest") } },
    },
  },
  responses: {
    200: status("the job exists already"),
    202: status("the job is started"),
    404: errorContent("there is no such source"),
    413: errorContent("the body is too large"),
    415: errorContent("the body is not JSON"),
    422: errorContent(
      "the request is invalid, its source is not in the allow-list, or its model is not served",
    ),
    503: errorContent("the source cannot be read now"),
    504: errorContent("the source did not answer in time"),
    ...failures,
  },
});
const list = createRoute({
  method: "get",
  path: "/v1/jobs",
  summary: "List jobs, newest first",
  request: {
    query: z.object({
      limit: z.coerce.number().int().min(1).max(100).default(50),
      cursor: z.string().regex(LIST_CURSOR, "must be the cursor of another page").optional(),
      text: z.string().max(256).optional().openapi({ description: "Part of the source's address." }),
      state: z
        .union([z.enum(JOB_STATES), z.array(z.enum(JOB_STATES))])
        .optional()
        .openapi({ description: "Only jobs in this state; may be repeated." }),
    }),
  },
  responses: {
    200: jsonContent(
      z
        .object({ jobs: z.array(statusSchema), cursor: z.string().optional() })
        .openapi("JobPage", { description: "A page with a cursor is followed by another one." }),
      "the jobs",
    ),
    422: errorContent("the query is invalid"),
    ...failures,
  },
});
const show = createRoute({
  method: "get",
  path: "/v1/jobs/{id}",
  summary: "Status of a job",
  request: { params: id },
  responses: { 200: status("the job"), 404: errorContent("there is no such job"), ...failures },
});
const cancel = createRoute({
  method: "delete",
  path: "/v1/jobs/{id}",
  summary: "Cancel a job; its objects are removed",
  request: { params: id },
  responses: {
    200: status("the job, cancelled"),
    404: errorContent("there is no such job"),
    409: errorContent("the job has ended"),
    ...failures,
  },
});
const retry = createRoute({
  method: "post",
  path: "/v1/jobs/{id}/retry",
  summary: "Start a job again that failed or was cancelled; another job if its scan was replaced meanwhile",
  request: { params: id },
  responses: {
    200: status("the job is running already, or done"),
    202: status("the job is started"),
    404: errorContent("the job does not exist, or its source is missing"),
    422: errorContent("the source cannot be read, or the model is no longer served"),
    503: errorContent("the source cannot be read now"),
    504: errorContent("the source did not answer in time"),
    ...failures,
  },
});
const remove = createRoute({
  method: "delete",
  path: "/v1/jobs/{id}/data",
  summary: "Delete a job that has ended, with its results. The scan stays",
  request: { params: id },
  responses: {
    204: { description: "deleted" },
    404: errorContent("there is no such job"),
    409: errorContent("the job is running: cancel it first"),
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
    404: errorContent("there is no such job"),
    ...failures,
  },
});

/** `/v1/jobs`: start, show, follow, cancel and delete jobs. Callers are authorized before. */
export function createJobRoutes(): OpenAPIHono<{ Bindings: Bindings }> {
  const app = createOpenApiApp<{ Bindings: Bindings }>();

  app.use("/v1/jobs", limitBody(MAX_JOB_REQUEST_BYTES));

  app.openapi(create, async (c) => {
    const { created, status } = await createRequestedJob(c.env, c.req.valid("json"), { again: true });
    return c.json(status, created ? 202 : 200);
  });

  app.openapi(list, async (c) => {
    const { limit, cursor, text, state } = c.req.valid("query");
    const states = state === undefined ? undefined : [state].flat();
    c.header("Cache-Control", "no-store");
    return c.json(await listJobs(c.env, { text, states }, limit, cursor), 200);
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

  app.openapi(retry, async (c) => {
    const { id } = c.req.valid("param");
    await requireStatus(c.env, id);
    const { request } = (await getLedger(c.env.LEDGERS!, id).document())!;
    const { created, status } = await createRequestedJob(c.env, request, { again: true });
    return c.json(status, created ? 202 : 200);
  });

  app.openapi(remove, async (c) => {
    const { id } = c.req.valid("param");
    const { state } = await requireStatus(c.env, id);
    if (!isFinal(state)) throw new HttpError(409, "job_running", `the job is ${state}: cancel it first`);
    // The record last, so that an interrupted request can be repeated.
    await removeAll(c.env, id);
    const ledger = getLedger(c.env.LEDGERS!, id);
    const document = await ledger.document();
    if (document) await removeFromIndex(c.env, document);
    if (!(await ledger.delete())) {
      throw new HttpError(
        409,
        "job_running",
        "the job was started again meanwhile and failed because of the removal: remove it again",
      );
    }
    return c.body(null, 204);
  });

  app.openapi(events, async (c) => {
    const { id } = c.req.valid("param");
    await requireStatus(c.env, id);
    c.header("Cache-Control", "no-store");
    return streamSSE(c, async (stream) => {
      let sent = "";
      let sentAt = 0;
      while (!stream.aborted) {
        const now = await requireStatus(c.env, id);
        const data = JSON.stringify(now);
        if (data !== sent) {
          await stream.writeSSE({ event: "status", data });
          sent = data;
          sentAt = Date.now();
        } else if (Date.now() - sentAt > HEARTBEAT_MS) {
          await stream.write(": still there\n\n");
          sentAt = Date.now();
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

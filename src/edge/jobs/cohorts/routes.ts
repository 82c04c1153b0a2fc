import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import {
  COHORT_ID,
  COHORT_STATES,
  changedLimitsSchema,
  cohortPageSchema,
  cohortRequestSchema,
  cohortStatusSchema,
  MAX_COHORT_ROWS,
  MAX_ROWS_A_REQUEST,
  type RemoteCohortStatus,
  retrySchema,
  rowsPageSchema,
  rowsSchema,
} from "../../../contracts/cohort-request.ts";
import { HttpError } from "../../../service/http-error.ts";
import { limitBody } from "../../shared/limit-body.ts";
import { createOpenApiApp, errorContent, jsonContent } from "../../shared/open-api.ts";
import type { Bindings } from "../context/bindings.ts";
import { getConfiguredModel, requireConfiguredModel } from "../context/configured-model.ts";
import {
  addToList,
  keepInList,
  LIST_CURSOR,
  type NewestFirst,
  readList,
  removeFromList,
} from "../listing/newest-first.ts";
import { type CohortStub, getCohortLedger } from "./cohort-ledger.ts";

/** Enough for the maximum number of rows, with ids and addresses of usual lengths. */
const MAX_BODY_BYTES = 2 ** 20;

const id = z.object({
  id: z
    .string()
    .regex(COHORT_ID, "must be a cohort's id")
    .openapi({ param: { name: "id", in: "path" } }),
});
const statusSchema = cohortStatusSchema.openapi("CohortStatus");
const status = (description: string) => jsonContent(statusSchema, description);
const body = <T extends z.ZodType>(schema: T) => ({
  body: { required: true, content: { "application/json": { schema } } },
});
const failures = {
  401: errorContent("no token, or a wrong one"),
  403: errorContent("a token without the scope"),
};
const missing = { 404: errorContent("there is no such cohort") };
const badBody = { 413: errorContent("the body is too large"), 422: errorContent("the request does not fit") };

const create = createRoute({
  method: "post",
  path: "/v1/cohorts",
  summary: "Create a cohort, or find the one with this id; its scans start immediately",
  request: body(cohortRequestSchema.openapi("CohortRequest")),
  responses: {
    200: status("the cohort exists already"),
    201: status("the cohort is open"),
    409: errorContent("the cohort with this id has other settings, or it is full"),
    ...badBody,
    ...failures,
  },
});
const list = createRoute({
  method: "get",
  path: "/v1/cohorts",
  summary: "List cohorts, newest first",
  request: {
    query: z.object({
      limit: z.coerce.number().int().min(1).max(100).default(50),
      cursor: z.string().regex(LIST_CURSOR, "must be the cursor of another page").optional(),
      state: z
        .union([z.enum(COHORT_STATES), z.array(z.enum(COHORT_STATES))])
        .optional()
        .openapi({ description: "Only cohorts in this state; may be repeated." }),
    }),
  },
  responses: {
    200: jsonContent(
      cohortPageSchema.openapi("CohortPage", {
        description: "A page with a cursor is followed by another one.",
      }),
      "the cohorts",
    ),
    422: errorContent("the query is invalid"),
    ...failures,
  },
});
const show = createRoute({
  method: "get",
  path: "/v1/cohorts/{id}",
  summary: "Status of a cohort: scans per state, cost, why it waits",
  request: { params: id },
  responses: { 200: status("the cohort"), ...missing, ...failures },
});
const limit = createRoute({
  method: "patch",
  path: "/v1/cohorts/{id}",
  summary: "Change limits; a cohort that waits for a higher spend limit continues",
  request: { params: id, ...body(changedLimitsSchema.openapi("CohortLimits")) },
  responses: { 200: status("the cohort"), ...missing, ...badBody, ...failures },
});
const addRows = createRoute({
  method: "post",
  path: "/v1/cohorts/{id}/rows",
  summary: `Add up to ${MAX_ROWS_A_REQUEST} scans, ${MAX_COHORT_ROWS} in all; a scan with a known id is replaced only if it differs`,
  request: { params: id, ...body(z.strictObject({ rows: rowsSchema }).openapi("CohortRows")) },
  responses: {
    200: status("the cohort"),
    409: errorContent("the cohort is full"),
    ...missing,
    ...badBody,
    ...failures,
  },
});
const listRows = createRoute({
  method: "get",
  path: "/v1/cohorts/{id}/rows",
  summary: "Scans and their states, ordered by last change",
  request: {
    params: id,
    query: z.object({
      cursor: z
        .string()
        .regex(/^\d{1,15}$/, "must be the cursor of a previous page")
        .optional()
        .openapi({
          description: "Cursor of the previous page; after the last page it returns later changes.",
        }),
    }),
  },
  responses: {
    200: jsonContent(
      rowsPageSchema.openapi("CohortRowsPage"),
      `a page of at most ${MAX_ROWS_A_REQUEST} scans`,
    ),
    422: errorContent("the cursor is not from a previous page"),
    ...missing,
    ...failures,
  },
});
const retry = createRoute({
  method: "post",
  path: "/v1/cohorts/{id}/retry",
  summary: "Retry failed scans, or check the given scans that are done",
  request: { params: id, ...body(retrySchema.openapi("CohortRetry")) },
  responses: { 200: status("the cohort"), ...missing, ...badBody, ...failures },
});
const control = <T extends string>(verb: T, summary: string) =>
  createRoute({
    method: "post",
    path: `/v1/cohorts/{id}/${verb}` as const,
    summary,
    request: { params: id },
    responses: { 200: status("the cohort"), ...missing, ...failures },
  });
const pause = control("pause", "Start no further scan; running scans continue to their end");
const resume = control("resume", "Continue a cohort that was paused or cancelled");
const cancel = control("cancel", "Cancel running scans too; results stay");

const remove = createRoute({
  method: "delete",
  path: "/v1/cohorts/{id}",
  summary: "Delete a cohort without running scans: ids and addresses of its scans. Its jobs stay",
  request: { params: id },
  responses: {
    204: { description: "deleted" },
    409: errorContent("the cohort is running: cancel it first"),
    ...missing,
    ...failures,
  },
});

/** `/v1/cohorts`: one request for many scans. Callers are authorized before. */
export function createCohortRoutes(): OpenAPIHono<{ Bindings: Bindings }> {
  const app = createOpenApiApp<{ Bindings: Bindings }>();

  app.use("/v1/cohorts/*", limitBody(MAX_BODY_BYTES, ": send the scans in several requests"));

  app.openapi(create, async (c) => {
    const { id = newId(), job, limits, rows } = c.req.valid("json");
    // Once for the cohort, not for every scan.
    requireConfiguredModel(await getConfiguredModel(c.env), job);
    const cohort = getCohort(c.env, id);
    const opened = await cohort.create(id, job, limits);
    if (opened === "other") {
      throw new HttpError(
        409,
        "cohort_differs",
        "the cohort of this id has other settings: choose another id",
      );
    }
    // Cohorts that exist already may be of a version without the list.
    if (opened.created) await addToList(cohortList(c.env), opened.status);
    else await keepInList(cohortList(c.env), opened.status);
    const status = rows ? added(await cohort.add(rows)) : opened.status;
    return c.json(status, opened.created ? 201 : 200);
  });

  app.openapi(list, async (c) => {
    const { limit, cursor, state } = c.req.valid("query");
    const states = state === undefined ? undefined : [state].flat();
    const read = async (id: string) => {
      const status = await getCohort(c.env, id).status();
      return status && (!states || states.includes(status.state)) ? status : undefined;
    };
    const { entries, ...rest } = await readList(cohortList(c.env), { read }, limit, cursor);
    c.header("Cache-Control", "no-store");
    return c.json({ cohorts: entries, ...rest }, 200);
  });

  app.openapi(show, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(present(await getCohort(c.env, id).status()), 200);
  });

  app.openapi(limit, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(present(await getCohort(c.env, id).setLimits(c.req.valid("json"))), 200);
  });

  app.openapi(addRows, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(added(await getCohort(c.env, id).add(c.req.valid("json").rows)), 200);
  });

  app.openapi(listRows, async (c) => {
    const { id } = c.req.valid("param");
    const { cursor = "0" } = c.req.valid("query");
    return c.json(present(await getCohort(c.env, id).page(Number(cursor), MAX_ROWS_A_REQUEST)), 200);
  });

  app.openapi(retry, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(present(await getCohort(c.env, id).retry(c.req.valid("json").ids)), 200);
  });

  app.openapi(remove, async (c) => {
    const { id } = c.req.valid("param");
    const before = present(await getCohort(c.env, id).status());
    if (present(await getCohort(c.env, id).delete()) === "busy") {
      throw new HttpError(409, "cohort_running", "the cohort is running: cancel it first");
    }
    // An entry that is left by a cut-off is passed over: its cohort has no status.
    await removeFromList(cohortList(c.env), before);
    return c.body(null, 204);
  });

  for (const [route, desired] of [
    [pause, "paused"],
    [resume, "running"],
    [cancel, "cancelled"],
  ] as const) {
    app.openapi(route, async (c) => {
      const { id } = c.req.valid("param");
      return c.json(present(await getCohort(c.env, id).setDesiredState(desired)), 200);
    });
  }
  return app;
}

function cohortList({ RESULTS }: Bindings): NewestFirst {
  return { bucket: RESULTS!, prefix: "cohorts/" };
}

function getCohort({ COHORTS }: Bindings, id: string): CohortStub {
  if (typeof COHORTS?.idFromName === "function") return getCohortLedger(COHORTS, id);
  throw new HttpError(
    503,
    "not_configured",
    "the Worker's binding COHORTS must be the Durable Objects of the class CohortLedger",
  );
}

function newId(): string {
  return crypto.randomUUID().replaceAll("-", "");
}

function added(status: RemoteCohortStatus | "full" | undefined): RemoteCohortStatus {
  if (status === "full") {
    throw new HttpError(
      409,
      "cohort_full",
      `a cohort has at most ${MAX_COHORT_ROWS} scans: open another one for the rest`,
    );
  }
  return present(status);
}

function present<T>(found: T | undefined): T {
  if (found === undefined) throw new HttpError(404, "cohort_missing", "there is no such cohort");
  return found;
}

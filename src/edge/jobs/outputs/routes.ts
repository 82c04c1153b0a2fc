import type { R2Bucket } from "@cloudflare/workers-types";
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HttpError } from "../../../service/http-error.ts";
import { createOpenApiApp, errorContent, jsonContent } from "../../shared/open-api.ts";
import type { Bindings } from "../context/bindings.ts";
import { JOB_ID, outputPath, resultsPrefix } from "./output-path.ts";
import { sendObject } from "./send-object.ts";

const PAGE_SIZE = 1000;
const MAX_CURSOR_LENGTH = 2048;

const listingSchema = z
  .object({
    files: z.array(
      z.object({
        name: z.string().openapi({ description: "Path below the job's results." }),
        byteLength: z.int().nonnegative(),
        etag: z.string(),
      }),
    ),
    cursor: z.string().optional().openapi({ description: "Cursor of the next page, if there is one." }),
  })
  .openapi("Outputs");

const jobParam = z.object({ id: z.string() });

const listOutputs = createRoute({
  method: "get",
  path: "/v1/jobs/{id}/outputs",
  summary: "List the files of a job",
  request: { params: jobParam, query: z.object({ cursor: z.string().max(MAX_CURSOR_LENGTH).optional() }) },
  responses: {
    200: jsonContent(listingSchema, "A page of at most 1000 files."),
    404: errorContent("The job has no results, or none yet."),
    422: errorContent("The cursor is not from a previous page."),
  },
});

/** Routes of results: streamed from RESULTS, whole or by range. */
export function createOutputRoutes() {
  const app = createOpenApiApp<{ Bindings: Bindings }>();

  app.openapi(listOutputs, async (c) => {
    const results = getResultsBucket(c.env);
    const job = c.req.valid("param").id;
    if (!JOB_ID.test(job)) throw noResults(job);
    const prefix = resultsPrefix(job);
    const { cursor } = c.req.valid("query");
    const page = await results.list({ prefix, cursor, limit: PAGE_SIZE }).catch((error: unknown) => {
      if (cursor === undefined) throw error;
      throw new HttpError(422, "bad_cursor", "the cursor is not from a listing; start without one");
    });
    if (page.objects.length === 0 && cursor === undefined) throw noResults(job);
    const files = page.objects.map(({ key, size, etag }) => ({
      name: key.slice(prefix.length),
      byteLength: size,
      etag,
    }));
    return c.json({ files, cursor: page.truncated ? page.cursor : undefined }, 200);
  });

  // OpenAPI templates have no paths of several segments: documented by hand, matched by Hono.
  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/v1/jobs/{id}/outputs/{path}",
    summary: "One file of a job's results, whole or by range; also HEAD",
    request: {
      params: jobParam.extend({
        path: z.string().openapi({ description: "As listed; it may contain slashes." }),
      }),
      headers: z.object({
        Range: z.string().optional(),
        "If-Range": z.string().optional(),
        "If-None-Match": z.string().optional(),
      }),
    },
    responses: {
      200: { description: "The file.", content: { "application/octet-stream": { schema: z.any() } } },
      206: { description: "The range.", content: { "application/octet-stream": { schema: z.any() } } },
      304: { description: "The etag is in If-None-Match." },
      404: errorContent("There is no such file."),
      416: errorContent("The range starts behind the end of the file."),
    },
  });
  app.get("/v1/jobs/:id/outputs/:path{.+}", (c) => {
    // From the raw URL: a router may decode it twice or not at all.
    const encoded = new URL(c.req.url).pathname.split("/outputs/").slice(1).join("/outputs/");
    return sendOutput(c, c.req.param("id"), encoded);
  });

  return app;
}

/** @param encoded path of the output, as in the URL */
export async function sendOutput(
  c: Context<{ Bindings: Bindings }>,
  job: string,
  encoded: string,
): Promise<Response> {
  const path = outputPath(encoded);
  const found =
    JOB_ID.test(job) && path !== undefined
      ? await sendObject(c, getResultsBucket(c.env), resultsPrefix(job) + path)
      : undefined;
  if (!found) throw noFile();
  return found;
}

function getResultsBucket({ RESULTS }: Bindings): R2Bucket {
  if (typeof RESULTS?.list === "function") return RESULTS;
  throw new HttpError(503, "not_configured", "the Worker's binding RESULTS must be an R2 bucket");
}

function noResults(job: string): HttpError {
  const named = JOB_ID.test(job) ? `job ${job} has no results, or none yet` : "there is no such job";
  return new HttpError(404, "not_found", named);
}

function noFile(): HttpError {
  return new HttpError(
    404,
    "not_found",
    "there is no such file; the job's outputs are listed under …/outputs",
  );
}

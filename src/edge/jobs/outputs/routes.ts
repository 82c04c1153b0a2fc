import type { R2Bucket, R2Object } from "@cloudflare/workers-types";
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HttpError } from "../../../service/http-error.ts";
import { createOpenApiApp, errorContent, jsonContent } from "../../shared/open-api.ts";
import type { Bindings } from "../context/bindings.ts";
import { byteRange, namesEtag } from "./byte-range.ts";
import { contentHeaders } from "./content-type.ts";
import { JOB_ID, outputPath, resultsPrefix } from "./output-path.ts";

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
  const results = getResultsBucket(c.env);
  const path = outputPath(encoded);
  if (!JOB_ID.test(job) || path === undefined) throw noFile();
  const key = resultsPrefix(job) + path;
  const found = await results.head(key);
  if (!found) throw noFile();
  const headers = { ...contentHeaders(path), ...createFileHeaders(found) };
  if (namesEtag(c.req.header("If-None-Match"), found.httpEtag))
    return new Response(null, { status: 304, headers });
  // A changed file is sent whole.
  const ifRange = c.req.header("If-Range");
  const asked =
    ifRange === undefined || ifRange.trim() === found.httpEtag ? c.req.header("Range") : undefined;
  const range = byteRange(asked, found.size);
  if (range === "unsatisfiable") {
    throw new HttpError(416, "bad_range", `the file has ${found.size} bytes, the range starts behind them`, {
      "Content-Range": `bytes */${found.size}`,
    });
  }
  const partial = range && {
    "Content-Range": `bytes ${range.offset}-${range.offset + range.length - 1}/${found.size}`,
  };
  const status = range ? 206 : 200;
  const init = {
    status,
    headers: { ...headers, ...partial, "Content-Length": String(range?.length ?? found.size) },
  };
  if (c.req.method === "HEAD") return new Response(null, init);
  const body = await results.get(key, { range, onlyIf: { etagMatches: found.etag } });
  if (!body || !("body" in body)) {
    throw new HttpError(503, "changing", "the file is being replaced; try again", { "Retry-After": "1" });
  }
  return new Response(body.body as unknown as ReadableStream, init);
}

function createFileHeaders(object: R2Object): Record<string, string> {
  return {
    ETag: object.httpEtag,
    "Last-Modified": object.uploaded.toUTCString(),
    "Accept-Ranges": "bytes",
    // Access may be revoked, so caches must revalidate. Compression on the way would change the etag.
    "Cache-Control": "private, no-cache, no-transform",
  };
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

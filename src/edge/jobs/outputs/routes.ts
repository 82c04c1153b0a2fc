import type { R2Bucket, R2Object } from "@cloudflare/workers-types";
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HttpError } from "../../../service/http-error.ts";
import { createOpenApiApp, jsonContent, refusal } from "../../shared/open-api.ts";
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
    cursor: z.string().optional().openapi({ description: "Where the next page begins, if there is one." }),
  })
  .openapi("Outputs");

const jobParam = z.object({ id: z.string() });

const listOutputs = createRoute({
  method: "get",
  path: "/v1/jobs/{id}/outputs",
  summary: "Files that a job has written",
  request: { params: jobParam, query: z.object({ cursor: z.string().max(MAX_CURSOR_LENGTH).optional() }) },
  responses: {
    200: jsonContent(listingSchema, "A page of at most 1000 files."),
    404: refusal("The job has no results, or none yet."),
    422: refusal("The cursor is none of a page before."),
  },
});

/** How results go out: streamed from RESULTS, whole or by range. */
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
      throw new HttpError(422, "bad_cursor", "the cursor is none that a listing gave; begin without one");
    });
    if (page.objects.length === 0 && cursor === undefined) throw noResults(job);
    const files = page.objects.map(({ key, size, etag }) => ({
      name: key.slice(prefix.length),
      byteLength: size,
      etag,
    }));
    return c.json({ files, cursor: page.truncated ? page.cursor : undefined }, 200);
  });

  // A path of several parts has no place in an OpenAPI template: it is documented by hand, and matched by Hono.
  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/v1/jobs/{id}/outputs/{path}",
    summary: "One file of a job's results, whole or by range; HEAD is answered too",
    request: {
      params: jobParam.extend({
        path: z.string().openapi({ description: "As listed; it may hold slashes." }),
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
      304: { description: "The file is the one that If-None-Match names." },
      404: refusal("There is no such file."),
      416: refusal("The range begins behind the end of the file."),
    },
  });
  app.get("/v1/jobs/:id/outputs/:path{.+}", sendOutput);

  return app;
}

async function sendOutput(c: Context<{ Bindings: Bindings }>): Promise<Response> {
  const results = getResultsBucket(c.env);
  const job = c.req.param("id") ?? "";
  // From the address itself: what a router makes of it may be decoded twice or not at all.
  const encoded = new URL(c.req.url).pathname.split("/outputs/").slice(1).join("/outputs/");
  const path = outputPath(encoded);
  if (!JOB_ID.test(job) || path === undefined) throw noFile();
  const key = resultsPrefix(job) + path;
  const found = await results.head(key);
  if (!found) throw noFile();
  const headers = { ...contentHeaders(path), ...createFileHeaders(found) };
  if (namesEtag(c.req.header("If-None-Match"), found.httpEtag))
    return new Response(null, { status: 304, headers });
  // A file that is not the one whose beginning the caller has is sent whole.
  const ifRange = c.req.header("If-Range");
  const asked =
    ifRange === undefined || ifRange.trim() === found.httpEtag ? c.req.header("Range") : undefined;
  const range = byteRange(asked, found.size);
  if (range === "unsatisfiable") {
    throw new HttpError(416, "bad_range", `the file has ${found.size} bytes, the range begins behind them`, {
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
    // Whoever may read it today may not tomorrow: every use asks again. Compressed on the way it would have another etag.
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

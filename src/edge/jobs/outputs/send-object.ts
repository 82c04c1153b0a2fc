import type { R2Bucket, R2Object } from "@cloudflare/workers-types";
import type { Context } from "hono";
import { HttpError } from "../../../service/http-error.ts";
import type { Bindings } from "../context/bindings.ts";
import { byteRange, namesEtag } from "./byte-range.ts";
import { contentHeaders } from "./content-type.ts";

/** Sends an object of a bucket, whole or by range. @returns undefined if the object does not exist */
export async function sendObject(
  c: Context<{ Bindings: Bindings }>,
  bucket: R2Bucket,
  key: string,
): Promise<Response | undefined> {
  const found = await bucket.head(key);
  if (!found) return undefined;
  const headers = { ...contentHeaders(key), ...createFileHeaders(found) };
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
  const body = await bucket.get(key, { range, onlyIf: { etagMatches: found.etag } });
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

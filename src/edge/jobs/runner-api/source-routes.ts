import { type RouteConfig, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { JobDocument } from "../../../contracts/job-plan-message.ts";
import { HttpError } from "../../../service/http-error.ts";
import type { ListedObject, ObjectStore } from "../../../storage/object-store.ts";
import { isObjectKey } from "../../shared/object-key.ts";
import { errorContent } from "../../shared/open-api.ts";
import { openSourceStore } from "../../sources/open-source-store.ts";
import { resolveSource } from "../../sources/resolve-source.ts";
import type { Bindings } from "../context/bindings.ts";
import { byteRange } from "../outputs/byte-range.ts";
import { readJobDocument } from "./job-document.ts";

/** Maximum size of an object without a range, such as metadata of a Zarr. */
const MAX_WHOLE_BYTES = 16 * 2 ** 20;
/** Maximum length of a range. Readers of images need at most a row of tiles. */
const MAX_RANGE_BYTES = 32 * 2 ** 20;
const TIMEOUT_MS = 30_000;

/**
 * Describes a route of `sendSource` for the OpenAPI document, whose templates have no paths of several segments.
 * @param params of the route, without the path. @param failures responses for a wrong token, job or object
 */
export function describeSourceRoute(
  path: string,
  summary: string,
  params: z.ZodObject,
  failures: RouteConfig["responses"],
): RouteConfig {
  const description = "The source's name and the path below it; it may contain slashes.";
  const content = { "application/octet-stream": { schema: z.any() } };
  return {
    method: "get",
    path,
    summary,
    request: {
      params: params.extend({ path: z.string().openapi({ description }) }),
      headers: z.object({ Range: z.string().optional(), "If-Match": z.string().optional() }),
    },
    responses: {
      200: { description: "the whole of it", content },
      206: { description: "the range", content },
      412: errorContent("the source was replaced"),
      413: errorContent("the range is too long"),
      416: errorContent("the range starts behind the end"),
      503: errorContent("the source cannot be read now"),
      ...failures,
    },
  };
}

/** A source as it was found, and the address that opens it. */
export interface ReadableSource {
  source: JobDocument["source"];
  address: string;
}

/** The source of a job. @throws {HttpError} 404 if the job does not exist */
export async function jobSource(env: Bindings, job: string): Promise<ReadableSource> {
  const { source, request } = await readJobDocument(env, job);
  return { source, address: request.source };
}

/**
 * Sends a source, so that runners and pages need neither its address nor keys of its bucket. `/source/<name>/…` are the
 * objects below the source's key, and no others.
 */
export async function sendSource(
  c: Context<{ Bindings: Bindings }>,
  { source, address }: ReadableSource,
): Promise<Response> {
  const { store, key } = openSourceStore(c.env, address);
  // From the raw URL: a router may decode it twice or not at all.
  const path = keyBelow(new URL(c.req.url).pathname, source.name);
  if (path === undefined) throw missing();
  const target = key + path;
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  // A prefix is not an object.
  if (path === "" && source.kind !== undefined) throw missing();
  // Known for the source itself; a read of a replaced object fails by its etag.
  const info = path === "" ? source : await store.head(target, { signal });
  if (!info) throw missing();
  const ifMatch = c.req.header("If-Match");
  const etag = quoted(info.etag);
  if (ifMatch !== undefined && ifMatch !== "*" && ifMatch !== etag) {
    throw new HttpError(412, "source_changed", "the source was replaced since the etag in If-Match");
  }
  const headers = { ETag: etag, "Accept-Ranges": "bytes", "Cache-Control": "no-store, no-transform" };
  const range = byteRange(c.req.header("Range"), info.byteLength);
  if (range === "unsatisfiable") {
    throw new HttpError(
      416,
      "bad_range",
      `the source has ${info.byteLength} bytes, the range starts behind them`,
      {
        "Content-Range": `bytes */${info.byteLength}`,
      },
    );
  }
  const { offset, length } = range ?? { offset: 0, length: info.byteLength };
  if (length > (range ? MAX_RANGE_BYTES : MAX_WHOLE_BYTES)) {
    throw new HttpError(413, "too_large", `request at most ${MAX_RANGE_BYTES} bytes at a time, by range`);
  }
  const bytes = await read(store, target, offset, length, info.etag, signal);
  const partial = range && {
    "Content-Range": `bytes ${offset}-${offset + length - 1}/${info.byteLength}`,
  };
  return new Response(bytes, {
    status: range ? 206 : 200,
    headers: {
      ...headers,
      ...partial,
      "Content-Type": "application/octet-stream",
      "Content-Length": String(length),
    },
  });
}

/**
 * Lists the objects below a job's source that is a prefix, because runners cannot list them.
 * @throws {HttpError} 409 where the source was replaced since the job was created
 */
export async function sourceObjects(env: Bindings, job: string): Promise<ListedObject[]> {
  const { source, request } = await readJobDocument(env, job);
  if (source.kind !== "prefix") return [];
  const opened = openSourceStore(env, request.source);
  const found = await resolveSource(opened, AbortSignal.timeout(TIMEOUT_MS));
  if (found?.kind !== "prefix" || found.info.etag !== source.etag) {
    throw new HttpError(409, "source_changed", "the source was replaced since the job was created");
  }
  return found.objects.map(({ key, etag, byteLength }) => ({
    key: `${source.name}${key.slice(opened.key.length)}`,
    etag: quoted(etag),
    byteLength,
  }));
}

async function read(
  store: ObjectStore,
  key: string,
  offset: number,
  length: number,
  ifMatch: string,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await store.getRange(key, offset, length, { ifMatch, signal });
  if (bytes?.length !== length) {
    throw new HttpError(503, "source_unavailable", "the source ended early; try again", {
      "Retry-After": "1",
    });
  }
  return bytes as Uint8Array<ArrayBuffer>;
}

/** "" for the source itself, "/a/b" for an object below it; undefined for other paths. */
function keyBelow(pathname: string, name: string): string | undefined {
  let path: string;
  try {
    path = decodeURIComponent(pathname.split("/source/").slice(1).join("/source/"));
  } catch {
    return undefined;
  }
  if (path === name) return "";
  const below = path.startsWith(`${name}/`) ? path.slice(name.length + 1) : undefined;
  return below !== undefined && isObjectKey(below) ? `/${below}` : undefined;
}

/** Adds the quotes that headers need; stores give etags with or without them. */
function quoted(etag: string): string {
  return /^(W\/)?".*"$/.test(etag) ? etag : `"${etag.replaceAll('"', "")}"`;
}

function missing(): HttpError {
  return new HttpError(404, "source_missing", "the source has no such object");
}

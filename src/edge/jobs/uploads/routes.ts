import type { ReadableStream as R2Stream } from "@cloudflare/workers-types";
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HttpError } from "../../../service/http-error.ts";
import { discardBody } from "../../../service/read-body.ts";
import { limitBody } from "../../shared/limit-body.ts";
import { createOpenApiApp, errorContent, jsonContent } from "../../shared/open-api.ts";
import type { Bindings } from "../context/bindings.ts";
import { getUploadLedger, noSuchUpload, type UploadLedgerStub } from "./ledger-calls.ts";
import type { CompletedScan } from "./publish-upload-event.ts";
import { toMismatchError } from "./r2-multipart.ts";
import type { Upload, UploadState } from "./upload-ledger.ts";
import {
  DEFAULT_MAX_BYTES,
  encodeRequest,
  fileName,
  MAX_REQUEST_BYTES,
  newUploadId,
  partCount,
  partLength,
  partSize,
  UPLOAD_ID,
} from "./upload-plan.ts";
import {
  completionResponseSchema,
  newUploadSchema,
  partSchema,
  uploadResponseSchema,
} from "./upload-schemas.ts";
import { readUploadSettings, type UploadSettings } from "./upload-settings.ts";

export interface UploadRouteOptions {
  /**
   * Called for every complete upload, at least once. @returns the job that it starts, if known
   */
  onCompleted(scan: CompletedScan, env: Bindings): Promise<string | undefined>;
  /** Rejects requests before the upload that would fail after it: for another model. */
  check?(env: Bindings, asked: { model?: string; variant?: string }): Promise<void>;
  /** Maximum size of a file. */
  maxBytes?: number;
}

/** A job request is the largest part of a JSON body here. */
const MAX_JSON_BYTES = 16 * 1024;
/** Bytes of a rejected part that are read: the maximum part size. */
const MAX_DISCARDED_BYTES = 64 * 2 ** 20;

const uploadParams = z.object({ id: z.string() });

const createUpload = createRoute({
  method: "post",
  path: "/v1/uploads",
  summary: "Begin to upload a scan",
  request: { body: { required: true, content: { "application/json": { schema: newUploadSchema } } } },
  responses: {
    201: jsonContent(uploadResponseSchema, "The upload, and how to divide its file into parts."),
    413: errorContent("The file is too large."),
    422: errorContent("The request is invalid."),
  },
});

const readUpload = createRoute({
  method: "get",
  path: "/v1/uploads/{id}",
  summary: "Status of an upload",
  request: {
    params: uploadParams,
    query: z.object({
      urls: z.coerce
        .number()
        .int()
        .min(1)
        .max(10_000)
        .optional()
        .openapi({ description: "Presigned uploads: return URLs for the missing parts from this one on." }),
    }),
  },
  responses: {
    200: jsonContent(uploadResponseSchema, "The upload."),
    404: errorContent("There is no such upload."),
  },
});

const putPart = createRoute({
  method: "put",
  path: "/v1/uploads/{id}/parts/{n}",
  summary: "Send a part",
  request: {
    params: z.object({ id: z.string(), n: z.string().regex(/^\d{1,5}$/, "must be the number of a part") }),
    body: { content: { "application/octet-stream": { schema: z.any() } } },
  },
  responses: {
    200: jsonContent(partSchema, "The part is there."),
    404: errorContent("There is no such upload, or it has no such part."),
    409: errorContent("The upload is complete or presigned, or the part was sent twice at once."),
    411: errorContent("The length of the body is not stated."),
    422: errorContent("The part has another length."),
  },
});

const completeUpload = createRoute({
  method: "post",
  path: "/v1/uploads/{id}/complete",
  summary: "Join the parts into one object, and start its job",
  request: { params: uploadParams },
  responses: {
    200: jsonContent(completionResponseSchema, "The scan is stored. Idempotent."),
    404: errorContent("There is no such upload."),
    409: errorContent("Parts are missing; the first of them are named."),
  },
});

const abortUpload = createRoute({
  method: "delete",
  path: "/v1/uploads/{id}",
  summary: "Give an upload up",
  request: { params: uploadParams },
  responses: {
    204: { description: "It is gone." },
    404: errorContent("There is no such upload."),
    409: errorContent("The upload is complete."),
  },
});

/** Routes of uploads: parts are streamed into R2, or sent there by presigned URLs. */
export function createUploadRoutes({
  onCompleted,
  check = async () => {},
  maxBytes = DEFAULT_MAX_BYTES,
}: UploadRouteOptions) {
  const app = createOpenApiApp<{ Bindings: Bindings }>();

  app.use("/v1/uploads", limitBody(MAX_JSON_BYTES));

  app.openapi(createUpload, async (c) => {
    const settings = readUploadSettings(c.env);
    const { name: given, byteLength, request, presigned } = c.req.valid("json");
    const name = fileName(given);
    if (name === undefined) {
      throw new HttpError(
        422,
        "bad_name",
        "name must be the plain name of a file: no folders, no control characters, at most 255 bytes",
      );
    }
    if (byteLength > maxBytes) {
      throw new HttpError(
        413,
        "too_large",
        `the file has ${byteLength} bytes, at most ${maxBytes} are allowed`,
      );
    }
    if (presigned && !settings.s3) {
      throw new HttpError(
        422,
        "not_presigned",
        "this service has no presigned URLs; send the parts to it instead",
      );
    }
    const encoded = request === undefined ? undefined : encodeRequest(request);
    if (encoded !== undefined && encoded.length > MAX_REQUEST_BYTES) {
      throw new HttpError(
        422,
        "request_too_large",
        `the job request has ${encoded.length} characters, an object carries at most ${MAX_REQUEST_BYTES}; upload without it and post the job after`,
      );
    }
    // Before the client sends gigabytes for a job that would fail.
    if (request) await check(c.env, request);
    const id = newUploadId();
    const partBytes = partSize(byteLength);
    const ledger = getUploadLedger(settings.ledgers, id);
    const upload = await callLedger(() =>
      ledger.create({ id, name, byteLength, partBytes, presigned, request: encoded }),
    );
    return c.json(await describe(upload, ledger, presigned ? 1 : undefined), 201);
  });

  app.openapi(readUpload, async (c) => {
    const ledger = requireUploadLedger(c);
    const upload = requireFound(await callLedger(() => ledger.read()));
    return c.json(await describe(upload, ledger, c.req.valid("query").urls), 200);
  });

  app.openapi(putPart, async (c) => {
    const n = Number(c.req.valid("param").n);
    try {
      return c.json({ n, etag: await storePart(c, n) }, 200);
    } catch (error) {
      // A response before the end of the body would break the connection, and the client would not get the error.
      if (!c.req.raw.bodyUsed)
        await discardBody(c.req.raw, { maxBytes: MAX_DISCARDED_BYTES }).catch(() => {});
      throw error;
    }
  });

  app.openapi(completeUpload, async (c) => {
    const ledger = requireUploadLedger(c);
    const done = await callLedger(() => ledger.complete());
    if (done.outcome === "absent") throw noSuchUpload();
    if (done.outcome === "missing") {
      throw new HttpError(
        409,
        "parts_missing",
        `parts are missing or have a wrong length, the first of them ${done.parts.join(", ")}; send them and complete again`,
      );
    }
    const { upload } = done;
    const { bucket, key, etag, byteLength } = upload;
    let { job } = upload;
    if (!upload.published) {
      job = (await onCompleted({ bucket, key, etag, byteLength }, c.env)) ?? job;
      await callLedger(() => ledger.markPublished(job));
    }
    return c.json({ source: toSourceAddress(upload), etag, byteLength, job }, 200);
  });

  app.openapi(abortUpload, async (c) => {
    const ledger = requireUploadLedger(c);
    const state = await callLedger(() => ledger.abort());
    if (state === undefined) throw noSuchUpload();
    if (state === "complete") throw alreadyComplete();
    return c.body(null, 204);
  });

  return app;
}

/** The ledger of the upload in the URL. @throws {HttpError} 404 for an invalid id */
function requireUploadLedger(
  c: Context<{ Bindings: Bindings }>,
  settings: UploadSettings = readUploadSettings(c.env),
): UploadLedgerStub {
  const id = c.req.param("id") ?? "";
  if (!UPLOAD_ID.test(id)) throw noSuchUpload();
  return getUploadLedger(settings.ledgers, id);
}

/** Calls are idempotent, so an error of the ledger or its storage becomes a retryable 503. */
async function callLedger<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    console.error(error);
    throw unavailable();
  }
}

/** @returns the etag of part `n`, which is stored */
async function storePart(c: Context<{ Bindings: Bindings }>, n: number): Promise<string> {
  const settings = readUploadSettings(c.env);
  const ledger = requireUploadLedger(c, settings);
  const stated = c.req.header("Content-Length");
  if (stated === undefined || !/^\d+$/.test(stated)) {
    throw new HttpError(411, "length_required", "the request must state the length of its body");
  }
  const { upload, uploadId, attempt } = requireFound(await callLedger(() => ledger.begin(n, Number(stated))));
  checkPart(upload, n, Number(stated));
  const body = c.req.raw.body;
  if (!body) throw new HttpError(400, "bad_message", "the request has no body");
  const etag = await store(settings, upload, uploadId, n, body as unknown as R2Stream);
  if (!(await callLedger(() => ledger.record(n, attempt, etag)))) {
    throw new HttpError(409, "part_overtaken", `part ${n} was sent twice at once; send it again`, {
      "Retry-After": "1",
    });
  }
  return etag;
}

function checkPart(upload: Upload, n: number, stated: number): void {
  if (upload.state === "complete") throw alreadyComplete();
  if (upload.presigned) {
    throw new HttpError(409, "presigned", "the parts of this upload go to their presigned URLs");
  }
  const expected = partLength(upload, n);
  if (expected === undefined) {
    throw new HttpError(404, "no_such_part", `the upload has parts 1 to ${partCount(upload)}, not ${n}`);
  }
  if (stated !== expected) {
    throw new HttpError(422, "wrong_length", `part ${n} has ${expected} bytes, the request states ${stated}`);
  }
}

/** Streams the body to R2. */
async function store(
  { scans }: UploadSettings,
  { key }: Upload,
  uploadId: string,
  n: number,
  body: R2Stream,
): Promise<string> {
  try {
    return (await scans.resumeMultipartUpload(key, uploadId).uploadPart(n, body)).etag;
  } catch (error) {
    if (toMismatchError(error)?.missing === "upload") throw noSuchUpload();
    console.error(error);
    throw unavailable();
  }
}

async function describe(upload: UploadState, ledger: UploadLedgerStub, from: number | undefined) {
  const { id, state, bucket, key, byteLength, partBytes, done, presigned, etag, job, refusal } = upload;
  const urls = from === undefined ? undefined : await callLedger(() => ledger.addresses(from));
  const source = state === "complete" ? toSourceAddress(upload) : undefined;
  const parts = partCount(upload);
  return {
    id,
    state,
    bucket,
    key,
    byteLength,
    partBytes,
    parts,
    done,
    presigned,
    urls,
    source,
    etag,
    job,
    refusal,
  };
}

function toSourceAddress({ bucket, key }: Upload): string {
  return `r2://${bucket}/${key}`;
}

function requireFound<T>(found: T | undefined): T {
  if (found === undefined) throw noSuchUpload();
  return found;
}

function alreadyComplete(): HttpError {
  return new HttpError(409, "complete", "the upload is complete already");
}

function unavailable(): HttpError {
  return new HttpError(503, "storage_unavailable", "the upload cannot be reached; try again", {
    "Retry-After": "1",
  });
}

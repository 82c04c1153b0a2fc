import type { R2Bucket, ReadableStream as R2Stream } from "@cloudflare/workers-types";
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { MAX_FOLDER_FILE_BYTES, MAX_FOLDER_FILES } from "../../../contracts/folder-limits.ts";
import { HttpError } from "../../../service/http-error.ts";
import { discardBody } from "../../../service/read-body.ts";
import { toHex } from "../../../storage/digest.ts";
import type { ListedObject } from "../../../storage/object-store.ts";
import { prefixEtag } from "../../../storage/prefix-etag.ts";
import { R2Store } from "../../../storage/r2-store.ts";
import { limitBody } from "../../shared/limit-body.ts";
import { createOpenApiApp, errorContent, jsonContent } from "../../shared/open-api.ts";
import type { Bindings } from "../context/bindings.ts";
import { outputPath } from "../outputs/output-path.ts";
import { folderFileKey } from "./folder-plan.ts";
import { fileName, newUploadId, UPLOAD_ID, uploadKey } from "./upload-plan.ts";
import { uploadRequestSchema } from "./upload-schemas.ts";
import { readUploadSettings } from "./upload-settings.ts";

type FolderRequest = z.output<typeof uploadRequestSchema>;

export interface FolderRouteOptions {
  /** Rejects requests before the upload that would fail after it: for another model. */
  check?(env: Bindings, asked: { model?: string; variant?: string }): Promise<void>;
  /** Starts the job of a complete folder. @returns the job's id */
  start(env: Bindings, source: string, request: FolderRequest): Promise<string>;
}

const MAX_JSON_BYTES = 16 * 1024;
const PAGE_SIZE = 1000;
/** Bytes of a rejected file that are read, also of one that is slightly too large. */
const MAX_DISCARDED_BYTES = 64 * 2 ** 20;

const folderParams = z.object({ id: z.string().regex(UPLOAD_ID, "must be a folder's id") });
const name = z
  .string()
  .min(1)
  .max(1024)
  .openapi({ description: "Name of the folder, without parent folders." });
const etag = z
  .string()
  .regex(/^[0-9a-f]{32}$/)
  .openapi({
    description: "First half of the SHA-256 of JSON: [path, MD5, bytes] of each file, sorted by path.",
  });

const createFolder = createRoute({
  method: "post",
  path: "/v1/folders",
  summary: "Start the upload of a folder: an OME-Zarr, or the files of a DICOM series or slide",
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: z
            .strictObject({
              name,
              request: uploadRequestSchema.pick({ model: true, variant: true }).optional().openapi({
                description: "Model and variant of the job: rejected now where they are not served.",
              }),
            })
            .openapi("NewFolder"),
        },
      },
    },
  },
  responses: {
    201: jsonContent(z.object({ id: z.string(), source: z.string() }).openapi("Folder"), "The folder."),
    422: errorContent("The name is not valid for a folder."),
  },
});

const listFiles = createRoute({
  method: "get",
  path: "/v1/folders/{id}/files",
  summary: "List the stored files of a folder",
  request: { params: folderParams, query: z.object({ cursor: z.string().max(2048).optional() }) },
  responses: {
    200: jsonContent(
      z
        .object({
          files: z.array(z.object({ path: z.string(), byteLength: z.int(), etag: z.string() })),
          cursor: z.string().optional(),
        })
        .openapi("FolderFiles"),
      "A page of at most 1000 files; the etag of each is its MD5.",
    ),
    422: errorContent("The cursor is not from a previous page."),
  },
});

const completeFolder = createRoute({
  method: "post",
  path: "/v1/folders/{id}/complete",
  summary: "Complete a folder whose files are all stored, and start its job",
  request: {
    params: folderParams,
    body: {
      required: true,
      content: {
        "application/json": {
          schema: z
            .strictObject({
              name,
              etag,
              request: uploadRequestSchema
                .nullable()
                .prefault({})
                .openapi({ description: "The job to start with it; null: none." }),
            })
            .openapi("CompleteFolder"),
        },
      },
    },
  },
  responses: {
    200: jsonContent(
      z.object({ source: z.string(), job: z.string().optional() }).openapi("CompletedFolder"),
      "Its job, if one was requested. Idempotent.",
    ),
    409: errorContent("The stored files do not match the etag."),
    422: errorContent("The request is invalid, or there are too many files."),
  },
});

/**
 * Routes of folders: scans of many files. The service stores only the files. Each is written once and checked by its MD5,
 * which becomes its etag, so clients know what is stored, and one etag over all files proves that a folder is complete.
 */
export function createFolderRoutes({ start, check = async () => {} }: FolderRouteOptions) {
  const app = createOpenApiApp<{ Bindings: Bindings }>();
  for (const path of ["/v1/folders", "/v1/folders/:id/complete"]) {
    app.use(path, limitBody(MAX_JSON_BYTES));
  }

  app.openapi(createFolder, async (c) => {
    const { bucket } = readUploadSettings(c.env);
    const { name: given, request } = c.req.valid("json");
    if (request) await check(c.env, request);
    const id = newUploadId();
    const key = uploadKey(id, checkedName(given));
    return c.json({ id, source: `r2://${bucket}/${key}` }, 201);
  });

  app.openapi(listFiles, async (c) => {
    const { scans } = readUploadSettings(c.env);
    const prefix = uploadKey(c.req.valid("param").id, "");
    const { cursor } = c.req.valid("query");
    const page = await scans.list({ prefix, cursor, limit: PAGE_SIZE }).catch((error: unknown) => {
      if (cursor === undefined) throw error;
      throw new HttpError(422, "bad_cursor", "the cursor is not from a listing; start without one");
    });
    const files = page.objects.map(({ key, size, etag }) => ({
      path: key.slice(prefix.length),
      byteLength: size,
      etag,
    }));
    return c.json({ files, cursor: page.truncated ? page.cursor : undefined }, 200);
  });

  // OpenAPI templates have no paths of several segments: documented by hand, matched by Hono.
  app.openAPIRegistry.registerPath({
    method: "put",
    path: "/v1/folders/{id}/files/{path}",
    summary: "Store a file of a folder; stored files never change",
    request: {
      params: folderParams.extend({
        path: z.string().openapi({ description: "The folder's name and the file's path below it." }),
      }),
      headers: z.object({ "Content-MD5": z.string() }),
      body: { content: { "application/octet-stream": { schema: z.any() } } },
    },
    responses: {
      204: { description: "It is stored." },
      404: errorContent("The path is not that of a file in a folder."),
      409: errorContent("Another file has this path."),
      411: errorContent("The length of the body is not stated."),
      413: errorContent("The file is too large."),
      422: errorContent("The file does not match its MD5."),
    },
  });
  app.put("/v1/folders/:id/files/:path{.+}", async (c) => {
    try {
      await storeFile(c);
      return c.body(null, 204);
    } finally {
      // A response before the end of the body would break the connection, and the client would not get the error.
      if (!c.req.raw.bodyUsed)
        await discardBody(c.req.raw, { maxBytes: MAX_DISCARDED_BYTES }).catch(() => {});
    }
  });

  app.openapi(completeFolder, async (c) => {
    const { scans, bucket } = readUploadSettings(c.env);
    const { name, etag, request } = c.req.valid("json");
    const key = uploadKey(c.req.valid("param").id, checkedName(name));
    const files = await filesBelow(scans, `${key}/`);
    if ((await prefixEtag(files)) !== etag) {
      throw new HttpError(
        409,
        "files_missing",
        `the ${files.length} stored files do not match the etag; send the missing files and complete again`,
      );
    }
    const source = `r2://${bucket}/${key}`;
    const job = request === null ? undefined : await start(c.env, source, request);
    return c.json({ source, job }, 200);
  });

  return app;
}

async function storeFile(c: Context<{ Bindings: Bindings }>): Promise<void> {
  const { scans } = readUploadSettings(c.env);
  // From the raw URL: a router may decode it twice or not at all.
  const path = outputPath(new URL(c.req.url).pathname.split("/").slice(5).join("/"));
  const key = path && folderFileKey(c.req.param("id") ?? "", path);
  if (!key) throw new HttpError(404, "no_such_file", "this is not the path of a file in a folder");
  const stated = c.req.header("Content-Length");
  if (stated === undefined || !/^\d+$/.test(stated)) {
    throw new HttpError(411, "length_required", "the request must state the length of its body");
  }
  if (Number(stated) > MAX_FOLDER_FILE_BYTES) {
    throw new HttpError(
      413,
      "too_large",
      `the file has ${stated} bytes, at most ${MAX_FOLDER_FILE_BYTES} are allowed`,
    );
  }
  const md5 = parseMd5(c.req.header("Content-MD5"));
  if (md5 === undefined) {
    throw new HttpError(422, "wrong_md5", "the header Content-MD5 must hold the file's MD5 in base64");
  }
  if (!(await stored(scans, key, c.req.raw.body, md5))) {
    const there = await scans.head(key);
    if (there?.etag !== md5)
      throw new HttpError(409, "file_exists", "another file has this path; start a new folder");
  }
}

/** Streams the body to R2, which checks its MD5. @returns false where the key exists */
async function stored(
  scans: R2Bucket,
  key: string,
  body: ReadableStream | null,
  md5: string,
): Promise<boolean> {
  const bytes = (body ?? new Uint8Array(0)) as unknown as R2Stream;
  try {
    return (await scans.put(key, bytes, { md5, onlyIf: { etagDoesNotMatch: "*" } })) !== null;
  } catch (error) {
    if (/MD5|checksum/i.test((error as Error)?.message ?? "")) {
      throw new HttpError(422, "wrong_md5", "the file does not match its MD5; send it again");
    }
    console.error(error);
    throw new HttpError(503, "storage_unavailable", "the file cannot be stored now; try again", {
      "Retry-After": "1",
    });
  }
}

/** @returns files with paths relative to the prefix */
async function filesBelow(scans: R2Bucket, prefix: string): Promise<ListedObject[]> {
  const files: ListedObject[] = [];
  for await (const file of new R2Store(scans).objects(prefix)) {
    if (files.push({ ...file, key: file.key.slice(prefix.length) }) > MAX_FOLDER_FILES) {
      throw new HttpError(422, "too_many_files", `a folder may have at most ${MAX_FOLDER_FILES} files`);
    }
  }
  return files;
}

function checkedName(given: string): string {
  const name = fileName(given);
  if (name !== undefined) return name;
  throw new HttpError(
    422,
    "bad_name",
    "name must be the plain name of a folder: no parent folders, no control characters, at most 255 bytes",
  );
}

/** Converts an MD5 from base64 (RFC 1864) to the hexadecimal form of R2. */
function parseMd5(base64: string | undefined): string | undefined {
  if (base64 === undefined || !/^[A-Za-z0-9+/]{22}==$/.test(base64)) return undefined;
  return toHex(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
}

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
import { createOpenApiApp, jsonContent, refusal } from "../../shared/open-api.ts";
import type { Bindings } from "../context/bindings.ts";
import { outputPath } from "../outputs/output-path.ts";
import { folderFileKey } from "./folder-plan.ts";
import { fileName, newUploadId, UPLOAD_ID, uploadKey } from "./upload-plan.ts";
import { uploadRequestSchema } from "./upload-schemas.ts";
import { readUploadSettings } from "./upload-settings.ts";

type FolderRequest = z.output<typeof uploadRequestSchema>;

export interface FolderRouteOptions {
  /** Refuses what this service would refuse once all is sent: another model. */
  check?(env: Bindings, asked: { model?: string; variant?: string }): Promise<void>;
  /** Starts the job of a folder that is complete. @returns the job's id */
  start(env: Bindings, source: string, request: FolderRequest): Promise<string>;
}

const MAX_JSON_BYTES = 16 * 1024;
const PAGE_SIZE = 1000;
/** What is read of a file that is refused, also of one that is a little too large. */
const MAX_DISCARDED_BYTES = 64 * 2 ** 20;

const folderParams = z.object({ id: z.string().regex(UPLOAD_ID, "must be a folder's id") });
const name = z
  .string()
  .min(1)
  .max(1024)
  .openapi({ description: "Name of the folder, without others above it." });
const etag = z
  .string()
  .regex(/^[0-9a-f]{32}$/)
  .openapi({ description: "SHA-256, its first half, of JSON: [path, MD5, bytes] of each file by path." });

const createFolder = createRoute({
  method: "post",
  path: "/v1/folders",
  summary: "Begin to upload a folder: an OME-Zarr, or the files of a DICOM series or slide",
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: z
            .strictObject({
              name,
              request: uploadRequestSchema
                .pick({ model: true, variant: true })
                .optional()
                .openapi({ description: "What the job will ask for: refused now where it is not served." }),
            })
            .openapi("NewFolder"),
        },
      },
    },
  },
  responses: {
    201: jsonContent(z.object({ id: z.string(), source: z.string() }).openapi("Folder"), "The folder."),
    422: refusal("The name is none of a folder."),
  },
});

const listFiles = createRoute({
  method: "get",
  path: "/v1/folders/{id}/files",
  summary: "What is there of a folder",
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
    422: refusal("The cursor is none of a page before."),
  },
});

const completeFolder = createRoute({
  method: "post",
  path: "/v1/folders/{id}/complete",
  summary: "End a folder whose files are all there, and start its job",
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
      "Its job, where one was asked for; asking again gives the same answer.",
    ),
    409: refusal("The files that are there are not those of the etag."),
    422: refusal("The request does not fit, or there are too many files."),
  },
});

/**
 * How scans of many files come in. Nothing is kept of a folder but its files: each is written once and checked by its
 * MD5, which is its etag then, so that whoever sends them knows what is there and one etag of all proves that it is whole.
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
      throw new HttpError(422, "bad_cursor", "the cursor is none that a listing gave; begin without one");
    });
    const files = page.objects.map(({ key, size, etag }) => ({
      path: key.slice(prefix.length),
      byteLength: size,
      etag,
    }));
    return c.json({ files, cursor: page.truncated ? page.cursor : undefined }, 200);
  });

  // A path of several parts has no place in an OpenAPI template: it is documented by hand, and matched by Hono.
  app.openAPIRegistry.registerPath({
    method: "put",
    path: "/v1/folders/{id}/files/{path}",
    summary: "Send a file of a folder; once it is there, it stays",
    request: {
      params: folderParams.extend({
        path: z.string().openapi({ description: "The folder's name, and the file's path below it." }),
      }),
      headers: z.object({ "Content-MD5": z.string() }),
      body: { content: { "application/octet-stream": { schema: z.any() } } },
    },
    responses: {
      204: { description: "It is there." },
      404: refusal("This is no path of a file in a folder."),
      409: refusal("Another file is there by that path."),
      411: refusal("The length of the body is not stated."),
      413: refusal("The file is too large."),
      422: refusal("The file is not the one of its MD5."),
    },
  });
  app.put("/v1/folders/:id/files/:path{.+}", async (c) => {
    try {
      await storeFile(c);
      return c.body(null, 204);
    } finally {
      // Answered before the body was read, the connection would break and the sentence be lost.
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
        `the ${files.length} files that are there are not those that were named; send what is missing and complete again`,
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
  // From the address itself: what a router makes of it may be decoded twice or not at all.
  const path = outputPath(new URL(c.req.url).pathname.split("/").slice(5).join("/"));
  const key = path && folderFileKey(c.req.param("id") ?? "", path);
  if (!key) throw new HttpError(404, "no_such_file", "this is no path of a file in a folder");
  const stated = c.req.header("Content-Length");
  if (stated === undefined || !/^\d+$/.test(stated)) {
    throw new HttpError(411, "length_required", "the request must state the length of its body");
  }
  if (Number(stated) > MAX_FOLDER_FILE_BYTES) {
    throw new HttpError(
      413,
      "too_large",
      `the file has ${stated} bytes, at most ${MAX_FOLDER_FILE_BYTES} are taken`,
    );
  }
  const md5 = parseMd5(c.req.header("Content-MD5"));
  if (md5 === undefined) {
    throw new HttpError(422, "wrong_md5", "the header Content-MD5 must hold the file's MD5 in base64");
  }
  if (!(await stored(scans, key, c.req.raw.body, md5))) {
    const there = await scans.head(key);
    if (there?.etag !== md5)
      throw new HttpError(409, "file_exists", "another file is there by that path; begin a new folder");
  }
}

/** The body goes on to R2 as it comes in, which checks it. @returns false where the key is taken */
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
      throw new HttpError(422, "wrong_md5", "the file is not the one of its MD5; send it again");
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
    "name must be the plain name of a folder: no others above it, no control characters, at most 255 bytes",
  );
}

/** An MD5 in base64 (RFC 1864) as the hexadecimal number that R2 writes. */
function parseMd5(base64: string | undefined): string | undefined {
  if (base64 === undefined || !/^[A-Za-z0-9+/]{22}==$/.test(base64)) return undefined;
  return toHex(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
}

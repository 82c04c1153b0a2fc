import { z } from "@hono/zod-openapi";
import { jobRequestSchema } from "../../../contracts/job-request.ts";

const count = z.int().nonnegative();

/** What a job is, but for its source: that is the upload. */
export const uploadRequestSchema = jobRequestSchema.omit({ source: true });

export const newUploadSchema = z
  .strictObject({
    name: z.string().min(1).max(1024).openapi({ description: "Name of the file, without folders." }),
    byteLength: z.int().min(1),
    request: uploadRequestSchema
      .nullish()
      .openapi({ description: "The job to start with it; null: none, whatever the service's rules say." }),
    presigned: z
      .boolean()
      .default(false)
      .openapi({ description: "Whether parts go to the storage itself, by addresses that are handed out." }),
  })
  .openapi("NewUpload");

export const uploadSchema = z
  .object({
    id: z.string(),
    state: z.enum(["open", "complete"]),
    bucket: z.string(),
    key: z.string(),
    byteLength: count,
    partBytes: count.openapi({ description: "Bytes of every part but the last." }),
    parts: count.openapi({ description: "How many there are; they count from 1." }),
    done: z.array(count).openapi({ description: "Parts that are there." }),
    presigned: z.boolean(),
    urls: z
      .array(z.object({ n: count, url: z.string() }))
      .optional()
      .openapi({
        description: "Where parts that are not there may be put for an hour, at most 100 of them.",
      }),
    source: z
      .string()
      .optional()
      .openapi({ description: "Of an upload that is complete: how a job names it." }),
    etag: z.string().optional(),
    job: z.string().optional().openapi({ description: "The job that it started." }),
    refusal: z.string().optional().openapi({ description: "Why it started no job." }),
  })
  .openapi("Upload");

export const partSchema = z.object({ n: count, etag: z.string() }).openapi("UploadedPart");

export const completionSchema = z
  .object({
    source: z.string(),
    etag: z.string(),
    byteLength: count,
    job: z.string().optional().openapi({ description: "Absent until it is known: ask for the upload then." }),
  })
  .openapi("CompletedUpload");

import { z } from "@hono/zod-openapi";
import { jobRequestSchema } from "../../../contracts/job-request.ts";

const count = z.int().nonnegative();

/** A job request without its source, which is the upload. */
export const uploadRequestSchema = jobRequestSchema.omit({ source: true });

export const newUploadSchema = z
  .strictObject({
    name: z.string().min(1).max(1024).openapi({ description: "Name of the file, without folders." }),
    byteLength: z.int().min(1),
    request: uploadRequestSchema
      .nullish()
      .openapi({ description: "The job to start; null: none, even if a rule matches." }),
    presigned: z
      .boolean()
      .default(false)
      .openapi({ description: "Whether parts go to the storage directly, by presigned URLs." }),
  })
  .openapi("NewUpload");

export const uploadResponseSchema = z
  .object({
    id: z.string(),
    state: z.enum(["open", "complete"]),
    bucket: z.string(),
    key: z.string(),
    byteLength: count,
    partBytes: count.openapi({ description: "Bytes of every part but the last." }),
    parts: count.openapi({ description: "Number of parts; the first is 1." }),
    done: z.array(count).openapi({ description: "Stored parts." }),
    presigned: z.boolean(),
    urls: z
      .array(z.object({ n: count, url: z.string() }))
      .optional()
      .openapi({
        description: "Presigned URLs for missing parts, valid for an hour, at most 100.",
      }),
    source: z
      .string()
      .optional()
      .openapi({ description: "The address of a complete upload for job requests." }),
    etag: z.string().optional(),
    job: z.string().optional().openapi({ description: "The job that it started." }),
    refusal: z.string().optional().openapi({ description: "Why it started no job." }),
  })
  .openapi("Upload");

export const partSchema = z.object({ n: count, etag: z.string() }).openapi("UploadedPart");

export const completionResponseSchema = z
  .object({
    source: z.string(),
    etag: z.string(),
    byteLength: count,
    job: z.string().optional().openapi({ description: "Absent until known: poll the upload." }),
  })
  .openapi("CompletedUpload");

import * as z from "zod";
import { jobRequestSchema, jobStatusSchema } from "../contracts/job-request.ts";

/** Responses of a job service. Fields of newer services are ignored. */

const count = z.int().nonnegative();

/** State of an upload. */
export const remoteUploadSchema = z
  .object({
    id: z.string().regex(/^[\w-]{1,128}$/),
    state: z.enum(["open", "complete"]),
    byteLength: count,
    // Parts are held in memory while they are sent.
    partBytes: z
      .int()
      .positive()
      .max(128 * 2 ** 20),
    parts: z.int().positive().max(10_000),
    done: z.array(count).max(10_000),
    source: z.string().optional(),
    job: z.string().optional(),
    refusal: z.string().optional(),
  })
  .refine(({ byteLength, partBytes, parts }) => parts === Math.ceil(byteLength / partBytes), {
    path: ["parts"],
    message: "they do not make up the file",
  });
export type RemoteUpload = z.infer<typeof remoteUploadSchema>;

export const completedUploadSchema = z.object({ source: z.string(), job: z.string().optional() });

export const folderSchema = z.object({ id: z.string().regex(/^[\w-]{1,128}$/) });
export const folderFilesSchema = z.object({
  files: z.array(z.object({ path: z.string().max(4096), etag: z.string().max(256) })),
  cursor: z.string().min(1).optional(),
});
export const completedFolderSchema = z.object({ source: z.string(), job: z.string().optional() });

const outputFileSchema = z.object({ name: z.string().max(1024), byteLength: count, etag: z.string() });
export type OutputFile = z.infer<typeof outputFileSchema>;
export const listingSchema = z.object({
  files: z.array(outputFileSchema),
  cursor: z.string().min(1).optional(),
});

export const healthSchema = z.object({ reason: z.string().max(1000) });
export const errorBodySchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

/** A page of the list of jobs. */
export const jobPageSchema = z.object({ jobs: z.array(jobStatusSchema), cursor: z.string().optional() });
export const statedRequestSchema = jobRequestSchema
  .omit({ callback: true })
  .extend({ name: z.string().min(1) })
  .loose();
export type StatedRequest = z.infer<typeof statedRequestSchema>;
export const remoteModelSchema = z.object({
  name: z.string(),
  version: z.string(),
  variant: z.string(),
  hash: z.string(),
  cpuMsPerWindow: z.number().positive(),
});
export type RemoteModel = z.infer<typeof remoteModelSchema>;
export type JobPage = z.infer<typeof jobPageSchema>;

import * as z from "zod";
import { PAGES_AS } from "../image/image-source.ts";
import { OUTPUTS, SEGMENTATION_TYPES } from "../image/output-targets.ts";
import { settingsSchema } from "../orchestrator/settings.ts";

/** Bytes of a request with a job request in it. Nearly all are of the polygons of a region. */
export const MAX_JOB_REQUEST_BYTES = 512 * 1024;

/** A request to the job service, from a user or from a rule that matches a storage event. */
export const jobRequestSchema = z.strictObject({
  /** `r2://bucket/key`, `s3://bucket/key` or `https://host/path`; the service configures which of them it reads. */
  source: z.string().min(1).max(2048),
  /** Name of a model package; default: the one that the service runs. */
  model: z
    .string()
    .regex(/^[\w][\w.-]{0,99}$/, "must be the name of a model package")
    .optional(),
  /** Variant of the package; default: the one that the service runs. */
  variant: z
    .string()
    .regex(/^[\w][\w.-]{0,99}$/)
    .optional(),
  /** Number of the DICOM series, counted from 1, where the source holds several. */
  series: z.int().min(1).max(100_000).optional(),
  /** Meaning of the pages of a TIFF stack, where the file does not say. */
  pagesAs: z.enum(PAGES_AS).optional(),
  /** Number of the volume, counted from 1, where a NIfTI file holds a series of them. */
  time: z.int().min(1).max(100_000).optional(),
  /** Micrometres per pixel of level 0, where the file has none or a wrong one. */
  mpp: z.number().positive().max(10_000).optional(),
  settings: settingsSchema.prefault({}),
  outputs: z.array(z.enum(OUTPUTS)).min(1).max(OUTPUTS.length).optional(),
  /** Encoding of `labels.seg.dcm`; default binary. */
  segType: z.enum(SEGMENTATION_TYPES).optional(),
  /** Receives a signed request when the job has ended; the service must allow its host. */
  callback: z
    .url({ protocol: /^https?$/ })
    .max(2048)
    .optional(),
});

export type JobRequest = z.input<typeof jobRequestSchema>;
export type FullJobRequest = z.output<typeof jobRequestSchema>;

export const JOB_STATES = [
  "planning",
  "mapping",
  "merging",
  "finishing",
  "done",
  "failed",
  "cancelled",
] as const;
export type JobState = (typeof JOB_STATES)[number];

const count = z.int().nonnegative();
const share = z.object({ total: count, done: count });

/** `GET /v1/jobs/:id`, and the data of a progress event. */
export const jobStatusSchema = z.object({
  id: z.string(),
  state: z.enum(JOB_STATES),
  source: z.object({ uri: z.string(), etag: z.string(), byteLength: count }),
  model: z.object({ name: z.string(), variant: z.string().optional() }),
  /** Set if only a region is segmented: x, y, width, height in level-0 pixels. Around its polygons if it has any. */
  roi: z.tuple([count, count, count, count]).readonly().optional(),
  /** Number of polygons of the region. */
  polygons: count.optional(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
  /** Undefined until the job is planned. */
  windows: share.optional(),
  shards: share.optional(),
  merges: share.optional(),
  /** Estimate at list prices: so far, and of the whole job once it is planned. `run.json` has that of a job that is done. */
  estimatedCost: z
    .object({
      currency: z.literal("USD"),
      amount: z.number().nonnegative(),
      total: z.number().nonnegative().optional(),
    })
    .optional(),
  /** Why a job failed, in a sentence. */
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  /** Present once the job is done; `run.json` has more. */
  outputs: z.array(z.object({ name: z.string(), byteLength: count, sha256: z.string() })).optional(),
});
export type JobStatus = z.infer<typeof jobStatusSchema>;

/** States that a job never leaves. */
export function isFinal(state: JobState): boolean {
  return state === "done" || state === "failed" || state === "cancelled";
}

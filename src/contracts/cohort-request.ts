import * as z from "zod";
import { FAILURE_CODES } from "./failure-codes.ts";
import { jobRequestSchema } from "./job-request.ts";

/** Limits: rows of one cohort, rows of one request, and concurrent scans. */
export const MAX_COHORT_ROWS = 20_000;
export const MAX_ROWS_A_REQUEST = 1000;
export const MAX_COHORT_CONCURRENCY = 500;
const DEFAULT_CONCURRENCY = 10;
const MAX_USD = 1e9;

/** A scan of a cohort of the job service. */
export const cohortRowSchema = z.strictObject({
  /** Name of the row. */
  id: z
    .string()
    .min(1)
    .max(200)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: \p{Cc} needs a flag, and the OpenAPI document would hold it.
    .regex(/^[^\u0000-\u001f\u007f-\u009f/\\]+$/, "must have no path separators and no control characters"),
  source: jobRequestSchema.shape.source,
  /** Overrides the value of the cohort. */
  mpp: jobRequestSchema.shape.mpp,
});
export type NewCohortRow = z.output<typeof cohortRowSchema>;

export const rowsSchema = z
  .array(cohortRowSchema)
  .min(1)
  .max(MAX_ROWS_A_REQUEST)
  .refine((rows) => new Set(rows.map((row) => row.id)).size === rows.length, "must have no id twice");

const limits = {
  /** Concurrent scans: the next starts when one has ended. */
  concurrency: z.int().min(1).max(MAX_COHORT_CONCURRENCY),
  /** No further scan starts when the cost so far and the forecast of running scans would exceed it; null: no limit. */
  spendLimitUsd: z.number().positive().max(MAX_USD).nullable(),
  /** Looks up the size of all sources before the first scan starts. */
  largestFirst: z.boolean(),
};
export const cohortLimitsSchema = z.strictObject({
  concurrency: limits.concurrency.default(DEFAULT_CONCURRENCY),
  spendLimitUsd: limits.spendLimitUsd.default(null),
  largestFirst: limits.largestFirst.default(false),
});
export type CohortLimits = z.output<typeof cohortLimitsSchema>;
/** Absent fields stay unchanged. */
export const changedLimitsSchema = z.strictObject(limits).partial();
export type ChangedLimits = z.output<typeof changedLimitsSchema>;

/** The job request of every scan, without its source. */
export const cohortJobSchema = jobRequestSchema.omit({ source: true, callback: true });
export type CohortJob = z.output<typeof cohortJobSchema>;

export const COHORT_ID = /^[0-9a-f]{32}$/;

/** `POST /v1/cohorts`. */
export const cohortRequestSchema = z.strictObject({
  /** Chosen by the client, so that a retry after a lost response finds the cohort; default: generated. */
  id: z.string().regex(COHORT_ID, "must be 32 hexadecimal digits").optional(),
  job: cohortJobSchema.prefault({}),
  limits: cohortLimitsSchema.prefault({}),
  /** The first rows; more may follow at any time. */
  rows: rowsSchema.optional(),
});

export const ROW_STATES = ["pending", "running", "done", "failed"] as const;
export type CohortRowState = (typeof ROW_STATES)[number];
export const COHORT_STATES = ["running", "paused", "cancelled", "done"] as const;

const count = z.int().nonnegative();
const usd = z.number().nonnegative();

/** `GET /v1/cohorts/:id`. */
export const cohortStatusSchema = z.object({
  id: z.string(),
  /** done: all rows have ended; some may have failed, and more may follow. */
  state: z.enum(COHORT_STATES),
  /** Why no further scan starts, and what to do. */
  reason: z.string().optional(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
  limits: cohortLimitsSchema,
  rows: z.object({ total: count, pending: count, running: count, done: count, failed: count }),
  /** Cost of the ended jobs that this cohort started, including failed ones. */
  spentUsd: usd,
  /** Forecast of the running jobs. */
  forecastUsd: usd,
});
export type RemoteCohortStatus = z.infer<typeof cohortStatusSchema>;

/** `GET /v1/cohorts`: newest first; a page with a cursor is followed by another one. */
export const cohortPageSchema = z.object({
  cohorts: z.array(cohortStatusSchema),
  cursor: z.string().optional(),
});
export type RemoteCohortPage = z.infer<typeof cohortPageSchema>;

/** A row and its state. */
export const rowStatusSchema = z
  .object({
    id: z.string(),
    /** Without the query of a URL, which may hold a signature. */
    source: z.string(),
    mpp: z.number().optional(),
    state: z.enum(ROW_STATES),
    /** Clients that download its results name a directory after it. */
    job: z
      .string()
      .regex(/^[0-9a-f]{32}$/)
      .optional(),
    code: z.enum(FAILURE_CODES).optional(),
    reason: z.string().optional(),
    windows: count.optional(),
    /** The forecast, from before the job was done. */
    forecastUsd: usd.optional(),
    /** Cost of its job, even if another cohort or user started it. */
    costUsd: usd.optional(),
  })
  .refine(({ state, job }) => state !== "done" || job !== undefined, {
    path: ["job"],
    message: "what is done has one",
  });
export type CohortRowStatus = z.infer<typeof rowStatusSchema>;

/** The address of a source as shown to users: without its query. */
export function withoutQuery(source: string): string {
  return /^https?:/i.test(source) ? source.replace(/[?#].*$/s, "") : source;
}

/** `GET /v1/cohorts/:id/rows`. */
export const rowsPageSchema = z.object({
  /** Ordered by last change. */
  rows: z.array(rowStatusSchema),
  /** Cursor of the next page; after the last page it returns rows that change later. */
  cursor: z.string(),
  more: z.boolean(),
});
export type CohortRowsPage = z.infer<typeof rowsPageSchema>;

/** `POST /v1/cohorts/:id/retry`. */
export const retrySchema = z.strictObject({
  /** Rows that failed or are done; default: all that failed. */
  ids: z.array(cohortRowSchema.shape.id).min(1).max(MAX_ROWS_A_REQUEST).optional(),
});

import { z } from "zod";
import { FAILURE_CODES } from "./failure-codes.ts";
import { jobRequestSchema } from "./job-request.ts";

/** Rows of one cohort, of one request, and scans that may be under way together. */
export const MAX_COHORT_ROWS = 20_000;
export const MAX_ROWS_A_REQUEST = 1000;
export const MAX_COHORT_CONCURRENCY = 500;
const DEFAULT_CONCURRENCY = 10;
const MAX_USD = 1e9;

/** A scan of a cohort of the job service. */
export const cohortRowSchema = z.strictObject({
  /** Names the row. */
  id: z
    .string()
    .min(1)
    .max(200)
    .regex(/^[^\p{Cc}/\\]+$/u, "must have no path separators and no control characters"),
  source: jobRequestSchema.shape.source,
  /** Instead of that of all rows. */
  mpp: jobRequestSchema.shape.mpp,
});
export type NewCohortRow = z.output<typeof cohortRowSchema>;

export const rowsSchema = z
  .array(cohortRowSchema)
  .min(1)
  .max(MAX_ROWS_A_REQUEST)
  .refine((rows) => new Set(rows.map((row) => row.id)).size === rows.length, "must have no id twice");

const limits = {
  /** Scans under way together: a further one begins when one has ended. */
  concurrency: z.int().min(1).max(MAX_COHORT_CONCURRENCY),
  /** Nothing more begins when what was used and what is under way would cost more; null: no limit. */
  spendLimitUsd: z.number().positive().max(MAX_USD).nullable(),
  /** Looks all sources up before the first begins. */
  largestFirst: z.boolean(),
};
export const cohortLimitsSchema = z.strictObject({
  concurrency: limits.concurrency.default(DEFAULT_CONCURRENCY),
  spendLimitUsd: limits.spendLimitUsd.default(null),
  largestFirst: limits.largestFirst.default(false),
});
export type CohortLimits = z.output<typeof cohortLimitsSchema>;
/** What is left out stays as it is. */
export const changedLimitsSchema = z.strictObject(limits).partial();
export type ChangedLimits = z.output<typeof changedLimitsSchema>;

/** What is asked for of every scan. */
export const cohortJobSchema = jobRequestSchema.omit({ source: true, callback: true });
export type CohortJob = z.output<typeof cohortJobSchema>;

export const COHORT_ID = /^[0-9a-f]{32}$/;

/** `POST /v1/cohorts`. */
export const cohortRequestSchema = z.strictObject({
  /** Chosen by whoever asks, so that asking again after a lost answer finds the cohort; default one is made. */
  id: z.string().regex(COHORT_ID, "must be 32 hexadecimal digits").optional(),
  job: cohortJobSchema.prefault({}),
  limits: cohortLimitsSchema.prefault({}),
  /** The first of them; more may follow at any time. */
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
  /** done: nothing is left to do, though rows may have failed and more may follow. */
  state: z.enum(COHORT_STATES),
  /** Why nothing more begins, and what to do. */
  reason: z.string().optional(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
  limits: cohortLimitsSchema,
  rows: z.object({ total: count, pending: count, running: count, done: count, failed: count }),
  /** Of the jobs that this cohort started and that have ended, failed ones among them. */
  spentUsd: usd,
  /** Of those that are under way. */
  forecastUsd: usd,
});
export type RemoteCohortStatus = z.infer<typeof cohortStatusSchema>;

/** A row and what became of it. */
export const rowStatusSchema = z
  .object({
    id: z.string(),
    /** Without the query of an address, which may be a signature. */
    source: z.string(),
    mpp: z.number().optional(),
    state: z.enum(ROW_STATES),
    /** Whoever fetches its results names a directory so. */
    job: z
      .string()
      .regex(/^[0-9a-f]{32}$/)
      .optional(),
    code: z.enum(FAILURE_CODES).optional(),
    reason: z.string().optional(),
    windows: count.optional(),
    /** Before it was done. */
    forecastUsd: usd.optional(),
    /** Of its job, whoever started it. */
    costUsd: usd.optional(),
  })
  .refine(({ state, job }) => state !== "done" || job !== undefined, {
    path: ["job"],
    message: "what is done has one",
  });
export type CohortRowStatus = z.infer<typeof rowStatusSchema>;

/** A source as it is shown to whoever asks. */
export function withoutQuery(source: string): string {
  return /^https?:/i.test(source) ? source.replace(/[?#].*$/s, "") : source;
}

/** `GET /v1/cohorts/:id/rows`. */
export const rowsPageSchema = z.object({
  /** In the order of their last change. */
  rows: z.array(rowStatusSchema),
  /** Where the next page begins; behind the last page come rows that change later. */
  cursor: z.string(),
  more: z.boolean(),
});
export type CohortRowsPage = z.infer<typeof rowsPageSchema>;

/** `POST /v1/cohorts/:id/retry`. */
export const retrySchema = z.strictObject({
  /** Failed or done; default all that failed. */
  ids: z.array(cohortRowSchema.shape.id).min(1).max(MAX_ROWS_A_REQUEST).optional(),
});

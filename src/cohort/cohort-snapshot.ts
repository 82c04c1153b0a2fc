import { resolve } from "node:path";
import * as z from "zod";
import type { CohortJob } from "../contracts/cohort-request.ts";
import type { SharedSegmentOptions } from "../local/options.ts";
import type { ManifestRows } from "./manifest-rows.ts";

/** Options of `segment` that every scan shares. The token stays in the environment. */
export type SharedOptions = Omit<
  SharedSegmentOptions,
  "likeService" | "resume" | "force" | "signal" | "onProgress" | "token"
>;

/** What to download of each scan that a service has done: the inputs of the tables, or everything. */
export const DOWNLOADS = ["tables", "all"] as const;
export type Download = (typeof DOWNLOADS)[number];

/** The service that runs the cohort. The token is never stored. */
export interface CohortService {
  url: string;
  /** The cohort's id at the service. */
  cohort: string;
  /** The job of every scan. */
  job: CohortJob;
  download: Download;
}

/** `cohort.json`: the checked manifest and the options of the last run. */
export interface CohortSnapshot extends ManifestRows {
  formatVersion: 1;
  /** The scans as the user gave them, for `retry`. */
  cohort: string;
  options: SharedOptions;
  /** Absolute directory of the jobs. */
  store: string;
  slidesAtOnce: number;
  largestFirst: boolean;
  /** Encoding of the manifest, if given. */
  encoding?: string;
  model: { name: string; version: string; hash: string };
  /** Columns of the table, in order. */
  classes: readonly string[];
  kinds: readonly string[];
  isVolume: boolean;
  /** Journal key of each row. */
  keys: readonly string[];
  service?: CohortService;
}

/** Fields that this version reads; others pass. */
const snapshotSchema = z.looseObject({
  formatVersion: z.literal(1),
  cohort: z.string(),
  store: z.string(),
  options: z.looseObject({ model: z.string() }),
  covariates: z.array(z.string()),
  rows: z.array(z.looseObject({ id: z.string(), source: z.string(), values: z.array(z.string()) })),
  keys: z.array(z.string()),
  service: z.looseObject({ url: z.string(), cohort: z.string(), job: z.looseObject({}) }).optional(),
  classes: z.array(z.string()),
  kinds: z.array(z.string()),
  isVolume: z.boolean(),
});

/** @throws when `json` is no snapshot of this format */
export function parseSnapshot(json: string): CohortSnapshot {
  const parsed = snapshotSchema.parse(JSON.parse(json));
  // Release 0.1 called the threads "concurrency".
  const { concurrency, ...options } = parsed.options;
  const threads = options.threads ?? concurrency;
  return {
    ...parsed,
    options: { ...options, ...(threads !== undefined && { threads }) },
  } as unknown as CohortSnapshot;
}

/** A cohort as it was typed, with an absolute path: a later run may start elsewhere. */
export function absoluteCohort(cohort: string): string {
  return /^s3:/i.test(cohort) ? cohort : resolve(cohort.replace(/^file:\/\//, ""));
}

import { resolve } from "node:path";
import { z } from "zod";
import type { CohortJob } from "../contracts/cohort-request.ts";
import type { SegmentOptions } from "../local/options.ts";
import type { ManifestRows } from "./manifest-rows.ts";

/** Options of `segment` that are the same for every scan; no token, which belongs into the environment. */
export type SharedOptions = Omit<
  SegmentOptions,
  "source" | "out" | "resume" | "force" | "signal" | "onProgress" | "token"
>;

/** What is fetched of each scan that a service has done: what the tables are made from, or everything. */
export const DOWNLOADS = ["tables", "all"] as const;
export type Download = (typeof DOWNLOADS)[number];

/** Where a cohort runs that does not run on this machine. The token is never written down. */
export interface CohortService {
  url: string;
  /** Its id there. */
  cohort: string;
  /** What is asked for of every scan. */
  job: CohortJob;
  download: Download;
}

/** `cohort.json`: the checked manifest and the command, as the last run had them. */
export interface CohortSnapshot extends ManifestRows {
  formatVersion: 1;
  /** What was typed, for `retry`. */
  cohort: string;
  options: SharedOptions;
  /** Absolute directory of the jobs. */
  store: string;
  slidesAtOnce: number;
  largestFirst: boolean;
  /** Of the manifest, where it was named. */
  encoding?: string;
  model: { name: string; version: string; hash: string };
  /** Of the table, in its order. */
  classes: readonly string[];
  kinds: readonly string[];
  isVolume: boolean;
  /** Of each row, what names its work in the journal. */
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

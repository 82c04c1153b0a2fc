import { checkOptionNames } from "../portable/run-options.ts";
import { IMAGE_OPTION_NAMES } from "../portable/segment-image.ts";
import type { CohortOptions, CohortResult } from "./cohort-options.ts";
import { runCohort } from "./run-cohort.ts";

const COHORT_OPTION_NAMES = [
  "cohort",
  "out",
  "store",
  "parallelSlides",
  "largestFirst",
  "encoding",
  "restart",
  ...IMAGE_OPTION_NAMES.filter((name) => name !== "source"),
  "outputs",
  "segType",
  "threads",
  "backends",
  "batchSize",
  "token",
  "onEvent",
];

/**
 * Segments every scan of a manifest, a folder, a pattern or an S3 prefix on this machine, and writes one table of them
 * all. The same call continues a run that was interrupted.
 * @throws {TilewrightError} whatever stops every scan; a scan that fails is a row of the table
 */
export async function cohort(options: CohortOptions): Promise<CohortResult> {
  checkOptionNames(options, COHORT_OPTION_NAMES);
  return runCohort(options);
}

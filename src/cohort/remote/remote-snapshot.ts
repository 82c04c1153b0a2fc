import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import {
  type CohortJob,
  cohortJobSchema,
  MAX_COHORT_CONCURRENCY,
  MAX_COHORT_ROWS,
} from "../../contracts/cohort-request.ts";
import { loadSegmentModel, parseSegmentOptions } from "../../local/options.ts";
import { JobError } from "../../orchestrator/errors.ts";
import { type CohortOptions, toSharedOptions } from "../cohort-options.ts";
import { absoluteCohort, type CohortSnapshot, type Download } from "../cohort-snapshot.ts";
import { CohortManifestError } from "../errors.ts";
import { findRows } from "../find-rows.ts";
import type { CohortRow } from "../manifest-rows.ts";
import { reservedColumnNames, tableShape } from "../table.ts";
import { shortDigest, workKey } from "../work-key.ts";

export interface RemoteCohortOptions extends CohortOptions {
  /** Address of the job service. */
  server: string;
  /** USD: no further scan starts when its forecast would exceed this. */
  spendLimitUsd?: number;
  /** What to download of each done scan; default what the tables are made from. */
  download?: Download;
}

/** Rejects options that only make sense where the model runs on this machine. */
export function assertNoLocalOptions({
  mask,
  series,
  time,
  pagesAs,
  backends,
  batchSize,
  threads,
  parallelSlides,
  restart,
}: RemoteCohortOptions) {
  const given = {
    mask,
    series,
    time,
    "pages-as": pagesAs,
    backend: backends,
    "batch-size": batchSize,
    threads: threads,
    restart,
  };
  const [name] = Object.entries(given).find(([, value]) => value !== undefined) ?? [];
  if (name !== undefined)
    throw new JobError(`--${name} is for runs on this machine: leave it out with --server`);
  if (parallelSlides === undefined) return;
  if (Number.isInteger(parallelSlides) && parallelSlides >= 1 && parallelSlides <= MAX_COHORT_CONCURRENCY)
    return;
  throw new JobError(`--parallel-slides must be a whole number from 1 to ${MAX_COHORT_CONCURRENCY}`);
}

/** The checked manifest and the command. A directory keeps its cohort at the service. */
export async function createRemoteSnapshot(
  options: RemoteCohortOptions,
  url: string,
  before: CohortSnapshot | undefined,
): Promise<{ snapshot: CohortSnapshot; kind: string }> {
  const {
    server: _server,
    spendLimitUsd: _spend,
    download = before?.service?.download ?? "tables",
    ...local
  } = options;
  const shared = toSharedOptions(local);
  const { settings, outputs, segType } = parseSegmentOptions(shared);
  const model = await loadSegmentModel({ ...shared, signal: options.signal });
  const shape = tableShape(model);
  const { name, version } = model.manifest;
  const job = parseCohortJob({
    model: name,
    variant: shared.variant,
    mpp: shared.mpp,
    settings,
    outputs,
    segType,
  });
  if (before && shortDigest(before.service!.job) !== shortDigest(job)) {
    throw new JobError(
      `${options.out} holds a cohort with another model or other settings: choose another --out, or go on with the same`,
    );
  }
  const { kind, covariates, rows } = await findRows(options.cohort, reservedColumnNames(shape), options.out, {
    encoding: options.encoding,
    signal: options.signal,
  });
  assertRowsAccepted(options.cohort, rows);
  const snapshot: CohortSnapshot = {
    formatVersion: 1,
    cohort: absoluteCohort(options.cohort),
    options: shared,
    store: resolve(options.store ?? join(options.out, "jobs")),
    // 0: the service's own setting.
    slidesAtOnce: options.parallelSlides ?? before?.slidesAtOnce ?? 0,
    largestFirst: options.largestFirst ?? before?.largestFirst ?? false,
    model: { name, version, hash: model.hash },
    ...shape,
    ...(options.encoding !== undefined && { encoding: options.encoding }),
    covariates,
    rows,
    keys: rows.map((row) => workKey(row, shared, shortDigest(job))),
    service: { url, cohort: before?.service?.cohort ?? randomBytes(16).toString("hex"), job, download },
  };
  return { snapshot, kind };
}

function parseCohortJob(asked: object): CohortJob {
  const parsed = cohortJobSchema.safeParse(asked);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new JobError(`option ${path.join(".")}: ${message}`);
}

function assertRowsAccepted(cohort: string, rows: readonly CohortRow[]): void {
  const problems = rows
    .filter(({ mask }) => mask !== undefined)
    .map(({ line }) => `line ${line}: masks are for runs on this machine: leave them out with --server`);
  if (rows.length > MAX_COHORT_ROWS)
    problems.push(`there are ${rows.length} rows: a service takes ${MAX_COHORT_ROWS} in one cohort`);
  if (problems.length > 0) throw new CohortManifestError(cohort, problems);
}

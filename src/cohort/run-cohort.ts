import { join, resolve } from "node:path";
import { loadSegmentModel, parseSegmentOptions } from "../local/options.ts";
import { JobError } from "../orchestrator/errors.ts";
import { CohortDirectory } from "./cohort-directory.ts";
import { type CohortOptions, type CohortResult, toSharedOptions } from "./cohort-options.ts";
import { absoluteCohort, type CohortSnapshot } from "./cohort-snapshot.ts";
import { findRows } from "./find-rows.ts";
import { Journal } from "./journal.ts";
import { LocalCohortRun } from "./local-run.ts";
import { assertSameSettings } from "./other-settings.ts";
import { MetricsCache } from "./slide-metrics.ts";
import { reservedColumnNames, tableShape } from "./table.ts";
import { sumOutcomes } from "./totals.ts";
import { settingsDigest, workKey } from "./work-key.ts";
import { writeReport } from "./write-tables.ts";

const DEFAULT_PARALLEL_SLIDES = 2;
const MAX_PARALLEL_SLIDES = 64;
const CANCEL_POLL_MS = 500;

/**
 * Segments every scan of a cohort on this machine and writes one table of them all. However an earlier run ended, the
 * same call continues it.
 * @throws {CohortManifestError} before anything is written
 * @throws whatever stops every scan, such as a full disk, a damaged model or no backend; the state is kept
 */
export async function runCohort(options: CohortOptions): Promise<CohortResult> {
  const { onEvent = () => {}, parallelSlides = DEFAULT_PARALLEL_SLIDES } = options;
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  if (!(Number.isInteger(parallelSlides) && parallelSlides >= 1 && parallelSlides <= MAX_PARALLEL_SLIDES)) {
    throw new JobError(
      `parallel slides is ${parallelSlides}: it must be a whole number from 1 to ${MAX_PARALLEL_SLIDES}`,
    );
  }
  const directory = new CohortDirectory(options.out);
  directory.assertEmptyOrCohort();
  const before = directory.assertSameServer(undefined);
  const shared = toSharedOptions(options);
  const checked = parseSegmentOptions(shared);
  const model = await loadSegmentModel({ ...shared, signal });
  const shape = tableShape(model);
  const found = await findRows(options.cohort, reservedColumnNames(shape), options.out, {
    encoding: options.encoding,
    signal,
  });
  const settings = settingsDigest(model, checked);
  if (before && !options.restart) assertSameSettings(directory, before, shared, model);
  const snapshot: CohortSnapshot = {
    formatVersion: 1,
    cohort: absoluteCohort(options.cohort),
    options: shared,
    store: resolve(options.store ?? join(options.out, "jobs")),
    slidesAtOnce: parallelSlides,
    largestFirst: options.largestFirst ?? false,
    ...(options.encoding !== undefined && { encoding: options.encoding }),
    model: { name: model.manifest.name, version: model.manifest.version, hash: model.hash },
    ...shape,
    covariates: found.covariates,
    rows: found.rows,
    keys: found.rows.map((row) => workKey(row, shared, settings)),
  };

  directory.lock();
  let journal: Journal | undefined;
  const cancelPoll = setInterval(() => {
    if (directory.isStopRequested()) stop.abort(new DOMException("the cohort was cancelled", "AbortError"));
  }, CANCEL_POLL_MS);
  try {
    directory.write(snapshot);
    journal = Journal.open(directory.journal);
    const metrics = new MetricsCache(snapshot.store);
    const run = new LocalCohortRun(options, snapshot, directory, journal, metrics, signal, stop);
    if (options.restart) run.removeUnused();
    await run.checkSources();
    const outcomes = run.outcomes();
    const { done, failed, pending } = sumOutcomes(outcomes);
    onEvent({ type: "cohort", rows: outcomes.length, kind: found.kind, done, failed, toDo: pending });
    await run.tables.write();
    try {
      if (pending > 0) await run.segmentAll(model);
    } finally {
      // A failure here must not hide the error that stopped the run.
      await run.tables.write().catch((error) => {
        if (!signal.aborted) throw error;
      });
    }
    if (directory.isStopRequested()) journal.append({ at: new Date().toISOString(), type: "cancelled" });
    signal.throwIfAborted();
    const ended = run.outcomes();
    writeReport(directory, snapshot, ended, metrics);
    return { rows: ended.length, out: options.out, ...sumOutcomes(ended) };
  } finally {
    clearInterval(cancelPoll);
    journal?.close();
    directory.unlock();
  }
}

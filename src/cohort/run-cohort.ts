import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import pLimit from "p-limit";
import { TRANSIENT_CODES } from "../contracts/failure-codes.ts";
import { secondsPerWindow } from "../local/benchmark-inference.ts";
import { loadSegmentModel, openSegmentBackends, parseSegmentOptions } from "../local/options.ts";
import type { ProgressEvent } from "../local/progress.ts";
import { maskAddress } from "../local/read-mask.ts";
import { runSlide, type SlideResult, type SlideRuntime } from "../local/run-slide.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import { JobError } from "../orchestrator/errors.ts";
import { coreCost, edgeWindowsCost } from "../orchestrator/prices.ts";
import type { Backend } from "../orchestrator/scheduler/backend.ts";
import { VERSION } from "../orchestrator/version.ts";
import { forEachConcurrent } from "../storage/concurrency.ts";
import { CohortDirectory, type CohortSnapshot, type SharedOptions } from "./cohort-directory.ts";
import { findRows } from "./find-rows.ts";
import type { Flag } from "./flags.ts";
import { Journal, type KeyState } from "./journal.ts";
import type { CohortRow } from "./manifest-rows.ts";
import { assertSameSettings } from "./other-settings.ts";
import { ProcessGuard } from "./process-guard.ts";
import { classifySlideFailure } from "./slide-failure.ts";
import { sourceOrigin } from "./source-origin.ts";
import { type SourceState, lookUpSource } from "./source-state.ts";
import { type RowOutcome, type TableShape, reservedColumnNames } from "./table.ts";
import { TableWriter } from "./table-writer.ts";
import { type CohortTotals, sumOutcomes } from "./totals.ts";
import { FactsCache, toOutcomes, writeReport } from "./write-tables.ts";

export interface CohortOptions extends SharedOptions {
  /** Manifest, folder, pattern or `s3://bucket/prefix`. */
  cohort: string;
  /** Directory for state and tables. */
  out: string;
  /** Directory of the jobs' results; default `jobs` in `out`. Cohorts that share it share their work. */
  store?: string;
  /** Scans that are at work together: one maps, others are planned or write their outputs. */
  slidesAtOnce?: number;
  largestFirst?: boolean;
  /** Of the manifest; default UTF-8. */
  encoding?: string;
  /** With another model or other settings, segments every scan again and removes the results of before. */
  restart?: boolean;
  token?: string;
  signal?: AbortSignal;
  onEvent?: (event: CohortProgress) => void;
}

export type CohortProgress =
  | { type: "cohort"; rows: number; kind: string; done: number; failed: number; toDo: number }
  | { type: "slide"; id: string; state: "begun" | "uploading" }
  | {
      type: "slide";
      id: string;
      state: "done";
      found: boolean;
      seconds: number;
      windows: number;
      /** What a person should know before using the result. */
      warnings?: readonly string[];
      left: number;
    }
  /** How far one scan is. */
  | { type: "windows"; id: string; windowsDone: number; windowsTotal: number }
  | { type: "slide"; id: string; state: "failed"; code: string; reason: string; left: number }
  | { type: "slide"; id: string; state: "changed" }
  | { type: "backend"; backend: string; reason: string };

export interface CohortResult extends CohortTotals {
  rows: number;
  out: string;
}

const DEFAULT_PARALLEL_SLIDES = 2;
const MAX_PARALLEL_SLIDES = 64;
const PARALLEL_LOOKUPS = 32;
const CANCEL_POLL_MS = 500;
/** Scans in a row that no backend could run: then it is not the scans. */
const MAX_BACKEND_FAILURES_IN_A_ROW = 3;

/**
 * Segments every scan of a cohort, and writes one table of them all. Whatever ended an earlier run, the same call goes
 * on where it was.
 * @throws {CohortManifestError} before anything is written
 * @throws what no scan could go on after: a full disk, a damaged model, no backend; the state is kept
 */
export async function runCohort(options: CohortOptions): Promise<CohortResult> {
  const { onEvent = () => {}, slidesAtOnce = DEFAULT_PARALLEL_SLIDES } = options;
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  if (!(Number.isInteger(slidesAtOnce) && slidesAtOnce >= 1 && slidesAtOnce <= MAX_PARALLEL_SLIDES))
    throw new JobError(`slides at once must be a whole number from 1 to ${MAX_PARALLEL_SLIDES}`);
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
  const work = settingsDigest(model, checked);
  if (before && !options.restart) assertSameSettings(directory, before, shared, model);
  const snapshot: CohortSnapshot = {
    formatVersion: 1,
    cohort: /^s3:/i.test(options.cohort) ? options.cohort : resolve(options.cohort.replace(/^file:\/\//, "")),
    options: shared,
    store: resolve(options.store ?? join(options.out, "jobs")),
    slidesAtOnce,
    largestFirst: options.largestFirst ?? false,
    ...(options.encoding !== undefined && { encoding: options.encoding }),
    model: { name: model.manifest.name, version: model.manifest.version, hash: model.hash },
    ...shape,
    covariates: found.covariates,
    rows: found.rows,
    keys: found.rows.map((row) => workKey(row, shared, work)),
  };

  directory.lock();
  let journal: Journal | undefined;
  const watching = setInterval(() => {
    if (directory.isStopRequested()) stop.abort(new DOMException("the cohort was cancelled", "AbortError"));
  }, CANCEL_POLL_MS);
  try {
    directory.write(snapshot);
    journal = Journal.open(directory.journal);
    const facts = new FactsCache(snapshot.store);
    const run = new CohortRun(options, snapshot, directory, journal, facts, signal, stop);
    if (options.restart) run.removeUnused();
    await run.checkSources();
    const outcomes = run.outcomes();
    const { done, failed, pending } = sumOutcomes(outcomes);
    onEvent({ type: "cohort", rows: outcomes.length, kind: found.kind, done, failed, toDo: pending });
    await run.tables.write();
    try {
      if (pending > 0) await run.segmentAll(model);
    } finally {
      // As much of the table as the disk takes; what stopped the run is what is told.
      await run.tables.write().catch((error) => {
        if (!signal.aborted) throw error;
      });
    }
    if (directory.isStopRequested()) journal.append({ at: now(), type: "cancelled" });
    signal.throwIfAborted();
    const ended = run.outcomes();
    writeReport(directory, snapshot, ended, facts);
    return { rows: ended.length, out: options.out, ...sumOutcomes(ended) };
  } finally {
    clearInterval(watching);
    journal?.close();
    directory.unlock();
  }
}

class CohortRun {
  readonly #options: CohortOptions;
  readonly #snapshot: CohortSnapshot;
  readonly tables: TableWriter;
  readonly #journal: Journal;
  readonly #facts: FactsCache;
  readonly #signal: AbortSignal;
  readonly #stop: AbortController;
  readonly #flags = new Map<string, readonly Flag[]>();
  readonly #sizes = new Map<string, number>();
  #backendFailuresInARow = 0;

  constructor(
    options: CohortOptions,
    snapshot: CohortSnapshot,
    directory: CohortDirectory,
    journal: Journal,
    facts: FactsCache,
    signal: AbortSignal,
    stop: AbortController,
  ) {
    this.#options = options;
    this.#snapshot = snapshot;
    this.tables = new TableWriter(directory, snapshot, () => this.outcomes(), facts);
    this.#journal = journal;
    this.#facts = facts;
    this.#signal = signal;
    this.#stop = stop;
  }

  outcomes(): RowOutcome[] {
    return toOutcomes(this.#snapshot, this.#journal.states, this.#facts, this.#flags);
  }

  /** Rows by the work they ask for: those that ask for the same share it. */
  #byKey(): Map<string, CohortRow> {
    const rows = new Map<string, CohortRow>();
    this.#snapshot.keys.forEach((key, i) => {
      if (!rows.has(key)) rows.set(key, this.#snapshot.rows[i]!);
    });
    return rows;
  }

  /** Sees with one request for each whether the sources of what is settled are still the same. */
  async checkSources(): Promise<void> {
    const { states } = this.#journal;
    const settled = [...this.#byKey()].filter(([key]) => {
      const status = states.get(key)?.status;
      return status === "done" || status === "failed" || this.#snapshot.largestFirst;
    });
    const again: string[] = [];
    await forEachConcurrent(settled, PARALLEL_LOOKUPS, async ([key, { id, source }]) => {
      this.#signal.throwIfAborted();
      const state = states.get(key);
      const seen: SourceState | "unreachable" = await lookUpSource(source, this.#signal).catch(() => {
        this.#signal.throwIfAborted();
        return "unreachable" as const;
      });
      if (typeof seen === "object" && seen.kind === "there") this.#sizes.set(key, seen.byteLength);
      const verdict = decideRerun(state, seen);
      if (verdict === "again") {
        again.push(key);
        if (state?.status === "done") this.#options.onEvent?.({ type: "slide", id, state: "changed" });
      } else if (verdict) this.#flags.set(key, [verdict]);
    });
    const at = now();
    this.#journal.append(...again.map((key) => ({ at, type: "retried" as const, key })));
  }

  /** Removes results in this cohort's own directory that none of its rows asks for any more. */
  removeUnused(): void {
    const { store, keys } = this.#snapshot;
    if (store !== resolve(join(this.#options.out, "jobs"))) return;
    const used = new Set(keys);
    for (const [key, state] of this.#journal.states) {
      if (state.status === "done" && !used.has(key))
        rmSync(this.#facts.directory(state.job), { recursive: true, force: true });
    }
  }

  #pendingRows(): [string, CohortRow][] {
    const pending = new Set(
      this.outcomes().flatMap(({ status }, i) =>
        status === "pending" || status === "running" ? this.#snapshot.keys[i]! : [],
      ),
    );
    const rows = [...this.#byKey()].filter(([key]) => pending.has(key));
    // Of the same size in the order of the manifest: sorting is stable.
    if (this.#snapshot.largestFirst)
      rows.sort(([a], [b]) => (this.#sizes.get(b) ?? 0) - (this.#sizes.get(a) ?? 0));
    return rows;
  }

  /** @throws what no other scan could go on after */
  async segmentAll(model: ModelPackage): Promise<void> {
    const options = { ...this.#snapshot.options, token: this.#options.token, signal: this.#signal };
    const backends = await openSegmentBackends(
      { ...options, onProgress: (event) => this.#emit(event) },
      model,
    );
    const guard = new ProcessGuard();
    const mapping = pLimit(1);
    try {
      const price = await createForecast(backends, model, this.#signal);
      const runtime: SlideRuntime = {
        model,
        backends: async () => backends,
        place: (job) => this.#facts.directory(job),
        whileMapping: (map) => mapping(() => guard.race(map)),
        originOf: sourceOrigin,
        measureQuality: true,
      };
      const toDo = this.#pendingRows();
      let left = toDo.length;
      let fatal: { error: unknown } | undefined;
      await forEachConcurrent(toDo, this.#snapshot.slidesAtOnce, async ([key, row]) => {
        if (this.#signal.aborted) return;
        try {
          left = await this.#segmentOne(key, row, runtime, guard, price, () => --left);
          await this.tables.writeIfDue();
        } catch (error) {
          fatal ??= { error };
          this.#stop.abort(error);
        }
      });
      if (fatal) throw fatal.error;
    } finally {
      guard.close();
      await Promise.all(backends.map((backend) => backend.segmenter.close()));
    }
  }

  async #segmentOne(
    key: string,
    row: CohortRow,
    runtime: SlideRuntime,
    guard: ProcessGuard,
    price: (windows: number) => number,
    finished: () => number,
  ): Promise<number> {
    const { options } = this.#snapshot;
    const { onEvent = () => {} } = this.#options;
    this.#journal.append({ at: now(), type: "begun", key });
    onEvent({ type: "slide", id: row.id, state: "begun" });
    let etag: string | undefined;
    let result: SlideResult;
    const mask = row.mask ?? options.mask;
    try {
      // Looked at before it is read: what changes after that is noticed by the reads, or when the cohort is run again.
      const seen = await lookUpSource(row.source, this.#signal);
      etag = seen.kind === "there" ? seen.etag : undefined;
      const work = {
        ...options,
        source: row.source,
        mpp: row.mpp ?? options.mpp,
        mask,
        out: "",
        resume: true,
        token: this.#options.token,
        signal: this.#signal,
        onProgress: (event: ProgressEvent) => this.#emit(event, row.id),
      };
      result = await guard.run(() => runSlide(work, runtime));
    } catch (error) {
      if (this.#signal.aborted) throw this.#signal.reason;
      const failure = classifySlideFailure(error, [row.source, mask, join(this.#snapshot.store, "job", "file")]);
      if (!failure) throw error;
      this.#backendFailuresInARow = failure.code === "backend" ? this.#backendFailuresInARow + 1 : 0;
      this.#journal.append({
        at: now(),
        type: "failed",
        key,
        ...failure,
        ...(etag !== undefined && { etag }),
      });
      const left = finished();
      onEvent({ type: "slide", id: row.id, state: "failed", ...failure, left });
      if (this.#backendFailuresInARow >= MAX_BACKEND_FAILURES_IN_A_ROW) throw error;
      return left;
    }
    this.#backendFailuresInARow = 0;
    const { manifest, found } = result;
    this.#journal.append({
      at: now(),
      type: "done",
      key,
      job: manifest.job,
      ...(etag !== undefined && { etag }),
      found,
      forecast: price(manifest.plan.windows),
    });
    const left = finished();
    const { windows } = manifest.plan;
    const seconds = manifest.seconds.total ?? 0;
    const { warnings } = manifest;
    onEvent({ type: "slide", id: row.id, state: "done", found, seconds, windows, warnings, left });
    return left;
  }

  #emit(event: ProgressEvent, id?: string): void {
    if (event.type === "backend") this.#options.onEvent?.(event);
    if (event.type === "progress" && id !== undefined) {
      const { windowsDone, windowsTotal } = event;
      this.#options.onEvent?.({ type: "windows", id, windowsDone, windowsTotal });
    }
  }
}

/** What is to be done with a settled scan, given what its source looks like now. */
export function decideRerun(
  state: KeyState | undefined,
  seen: SourceState | "unreachable",
): "again" | Flag | undefined {
  if (state?.status === "failed") {
    if (TRANSIENT_CODES.has(state.code)) return "again";
    if (seen === "unreachable") return undefined;
    const etag = seen.kind === "there" ? seen.etag : undefined;
    return etag === state.etag ? undefined : "again";
  }
  if (state?.status !== "done") return undefined;
  if (seen === "unreachable") return "source-not-checked";
  if (state.etag === undefined) return "again";
  if (seen.kind === "unknown") return "source-gone";
  return seen.etag === state.etag ? undefined : "again";
}

/** USD of windows, from the golden tile's time here and list prices elsewhere; fleets share the work by their speeds. */
async function createForecast(
  backends: readonly Backend[],
  model: ModelPackage,
  signal: AbortSignal,
): Promise<(windows: number) => number> {
  const local = backends.find((backend) => backend.segmenter.runMilliseconds !== undefined);
  if (local) {
    const seconds = await secondsPerWindow(local.segmenter, model, signal);
    return (windows) => coreCost(seconds * windows);
  }
  const edge = backends.some((backend) => backend.name.startsWith("edge:"));
  return (windows) => (edge ? edgeWindowsCost(windows, windows) : 0);
}

/** Columns of the table that come from the model. */
export function tableShape({ manifest }: ModelPackage): Omit<TableShape, "covariates"> {
  const classes = manifest.classes.map(({ name }) => name);
  const isVolume = manifest.input.axes === "zyx" || manifest.input.slices !== undefined;
  if (isVolume) return { classes: classes.slice(1), kinds: [], isVolume };
  return { classes, kinds: manifest.objects ? [manifest.objects.className] : classes.slice(1), isVolume };
}

/** Only what decides results, and nothing secret. */
export function toSharedOptions(options: CohortOptions): SharedOptions {
  const {
    cohort: _cohort,
    out: _out,
    store: _store,
    slidesAtOnce: _slides,
    largestFirst: _largest,
    encoding: _encoding,
    restart: _restart,
    token: _token,
    signal: _signal,
    onEvent: _onEvent,
    ...shared
  } = options;
  const mask = shared.mask === undefined ? undefined : maskAddress(shared.mask);
  return { ...shared, ...(mask !== undefined && !mask.includes("://") && { mask: resolve(mask) }) };
}

function settingsDigest(
  model: ModelPackage,
  { settings, outputs, batchSize, segType }: ReturnType<typeof parseSegmentOptions>,
): string {
  return shortDigest([VERSION, model.hash, model.manifest.version, settings, outputs, batchSize, segType]);
}

export function workKey({ source, mpp, mask }: CohortRow, options: SharedOptions, work: string): string {
  const chosen = [
    ...(options.pagesAs ? [options.pagesAs] : []),
    ...(options.time ? [`time ${options.time}`] : []),
  ];
  return shortDigest([source, mpp ?? options.mpp, mask ?? options.mask, options.series, work, ...chosen]);
}

export function shortDigest(parts: unknown): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 24);
}

function now(): string {
  return new Date().toISOString();
}

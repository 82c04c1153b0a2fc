import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import pLimit from "p-limit";
import { openSegmentBackends } from "../local/options.ts";
import { runSlide, type SlideResult, type SlideRuntime } from "../local/run-slide.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import type { ProgressEvent } from "../portable/progress.ts";
import { forEachConcurrent } from "../storage/concurrency.ts";
import type { CohortDirectory } from "./cohort-directory.ts";
import type { CohortOptions } from "./cohort-options.ts";
import type { CohortSnapshot } from "./cohort-snapshot.ts";
import type { Flag } from "./flags.ts";
import { measureWindowPrice } from "./forecast.ts";
import type { Journal } from "./journal.ts";
import type { CohortRow } from "./manifest-rows.ts";
import { ProcessGuard } from "./process-guard.ts";
import { classifySlideFailure } from "./slide-failure.ts";
import type { MetricsCache } from "./slide-metrics.ts";
import { decideRerun, lookUpSource, type SourceState, sourceOrigin } from "./source-state.ts";
import type { RowOutcome } from "./table.ts";
import { TableWriter } from "./table-writer.ts";
import { toOutcomes } from "./write-tables.ts";

const PARALLEL_LOOKUPS = 32;
/** After this many scans in a row that no backend could run, the run stops: the backends fail, not the scans. */
const MAX_BACKEND_FAILURES_IN_A_ROW = 3;

/** A run of a cohort on this machine: looks up sources, segments what is pending, and journals each result. */
export class LocalCohortRun {
  readonly #options: CohortOptions;
  readonly #snapshot: CohortSnapshot;
  readonly tables: TableWriter;
  readonly #journal: Journal;
  readonly #metrics: MetricsCache;
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
    metrics: MetricsCache,
    signal: AbortSignal,
    stop: AbortController,
  ) {
    this.#options = options;
    this.#snapshot = snapshot;
    this.tables = new TableWriter(directory, snapshot, () => this.outcomes(), metrics);
    this.#journal = journal;
    this.#metrics = metrics;
    this.#signal = signal;
    this.#stop = stop;
  }

  outcomes(): RowOutcome[] {
    return toOutcomes(this.#snapshot, this.#journal.states, this.#metrics, this.#flags);
  }

  /** Rows by key: rows with the same key share the work. */
  #byKey(): Map<string, CohortRow> {
    const rows = new Map<string, CohortRow>();
    this.#snapshot.keys.forEach((key, i) => {
      if (!rows.has(key)) rows.set(key, this.#snapshot.rows[i]!);
    });
    return rows;
  }

  /** Checks, with one request each, whether the sources of done and failed scans are unchanged. */
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

  /** Removes results in this cohort's own directory that no row refers to any more. */
  removeUnused(): void {
    const { store, keys } = this.#snapshot;
    if (store !== resolve(join(this.#options.out, "jobs"))) return;
    const used = new Set(keys);
    for (const [key, state] of this.#journal.states) {
      if (state.status === "done" && !used.has(key))
        rmSync(this.#metrics.directory(state.job), { recursive: true, force: true });
    }
  }

  #pendingRows(): [string, CohortRow][] {
    const pending = new Set(
      this.outcomes().flatMap(({ status }, i) =>
        status === "pending" || status === "running" ? this.#snapshot.keys[i]! : [],
      ),
    );
    const rows = [...this.#byKey()].filter(([key]) => pending.has(key));
    // Equal sizes keep the order of the manifest: the sort is stable.
    if (this.#snapshot.largestFirst)
      rows.sort(([a], [b]) => (this.#sizes.get(b) ?? 0) - (this.#sizes.get(a) ?? 0));
    return rows;
  }

  /** @throws an error that would stop every other scan too */
  async segmentAll(model: ModelPackage): Promise<void> {
    const options = { ...this.#snapshot.options, token: this.#options.token, signal: this.#signal };
    const backends = await openSegmentBackends(
      { ...options, onProgress: (event) => this.#emit(event) },
      model,
    );
    const guard = new ProcessGuard();
    const mapping = pLimit(1);
    try {
      const price = await measureWindowPrice(backends, model, this.#signal);
      const runtime: SlideRuntime = {
        model,
        backends: async () => backends,
        outputDirectory: (job) => this.#metrics.directory(job),
        whileMapping: (map) => mapping(() => guard.race(map)),
        sourceOrigin,
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
      // Look up the source before reading it: a later change is noticed by the reads, or by the next run.
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
      const failure = classifySlideFailure(error, [
        row.source,
        mask,
        join(this.#snapshot.store, "job", "file"),
      ]);
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

function now(): string {
  return new Date().toISOString();
}

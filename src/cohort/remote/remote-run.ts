import { ServiceError } from "../../client/errors.ts";
import type { JobClient } from "../../client/job-client.ts";
import {
  type ChangedLimits,
  type CohortRowStatus,
  type RemoteCohortStatus,
  withoutQuery,
} from "../../contracts/cohort-request.ts";
import { TRANSIENT_CODES } from "../../contracts/failure-codes.ts";
import { DirectoryLockedError } from "../../local/directory-lock.ts";
import { forEachConcurrent } from "../../storage/concurrency.ts";
import { pause } from "../../storage/retry.ts";
import type { CohortProgress } from "../cohort-options.ts";
import type { CohortSnapshot } from "../cohort-snapshot.ts";
import type { CohortEvent, Journal } from "../journal.ts";
import type { CohortRow } from "../manifest-rows.ts";
import { classifySlideFailure } from "../slide-failure.ts";
import type { MetricsCache } from "../slide-metrics.ts";
import type { RowOutcome } from "../table.ts";
import { toOutcomes } from "../write-tables.ts";
import { CohortClient } from "./cohort-client.ts";
import { fetchJob } from "./fetch-job.ts";
import type { RemoteCohortOptions } from "./remote-snapshot.ts";
import { isLocal, uploadedSource, uploadSource } from "./upload-source.ts";

const UPLOADS_AT_ONCE = 2;
const DOWNLOADS_AT_ONCE = 4;
/** Delay between polls: short after a change, doubled while nothing changes. */
const MIN_POLL_MS = 500;
const MAX_POLL_MS = 10_000;

type RunOptions = Pick<
  RemoteCohortOptions,
  "out" | "signal" | "onEvent" | "parallelSlides" | "largestFirst" | "spendLimitUsd"
>;

/** The local side of a cohort that a service runs: journals its progress, and downloads the results of done scans. */
export class RemoteCohortRun {
  readonly #client: CohortClient;
  readonly #options: RunOptions;
  readonly #snapshot: CohortSnapshot;
  readonly #journal: Journal;
  readonly #metrics: MetricsCache;
  /** Row and journal key of each id of the manifest. */
  readonly #rows: ReadonlyMap<string, { row: CohortRow; key: string }>;
  /** Last status of each row from the service; `#settled`: ids that are done or failed. */
  readonly #reported = new Map<string, CohortRowStatus>();
  readonly #settled: Set<string>;
  readonly #stop = new AbortController();

  constructor(
    client: JobClient,
    options: RunOptions,
    snapshot: CohortSnapshot,
    journal: Journal,
    metrics: MetricsCache,
  ) {
    this.#client = new CohortClient(client, snapshot.service!.cohort);
    this.#options = options;
    this.#snapshot = snapshot;
    this.#journal = journal;
    this.#metrics = metrics;
    this.#rows = new Map(snapshot.rows.map((row, i) => [row.id, { row, key: snapshot.keys[i]! }]));
    const ended = this.outcomes().filter(({ status }) => status === "done" || status === "failed");
    this.#settled = new Set(ended.map(({ row }) => row.id));
  }

  outcomes(): RowOutcome[] {
    return toOutcomes(this.#snapshot, this.#journal.states, this.#metrics);
  }

  /** Opens the cohort at the service, or continues it with the limits of this run. Retries transient failures. */
  async open(): Promise<void> {
    const limits = toLimits(this.#options);
    const { state } = await this.#client.open(this.#snapshot.service!.job, limits);
    if (Object.keys(limits).length > 0) await this.#client.setLimits(limits);
    if (state === "paused" || state === "cancelled") await this.#client.resume();
    await this.catchUp();
    const retried = [...this.#reported.values()].filter(({ id, state, code }) => {
      if (state === "failed") return TRANSIENT_CODES.has(code!);
      // Done at the service, but its results were deleted since.
      const { key } = this.#rows.get(id)!;
      return state === "done" && this.#journal.states.get(key)?.status === "failed";
    });
    if (retried.length > 0) await this.#client.retry(retried.map(({ id }) => id));
  }

  /** Sends the rows that the service lacks and polls until nothing is in progress. */
  async follow(meanwhile: () => Promise<void>): Promise<RemoteCohortStatus> {
    const { signal } = this.#options;
    let sent = false;
    let failure: { error: unknown } | undefined;
    const sending = this.#send().then(
      () => {
        sent = true;
      },
      (error: unknown) => {
        failure = { error };
      },
    );
    try {
      for (let delayMs = MIN_POLL_MS; ; ) {
        if (failure) throw failure.error;
        // The status is requested before the rows, so the rows are not older.
        const wasSent = sent;
        const status = await this.#client.status();
        const moved = await this.catchUp();
        const { pending, running } = status.rows;
        if (wasSent && running === 0 && (pending === 0 || status.state !== "running")) return status;
        await meanwhile();
        delayMs = moved ? MIN_POLL_MS : Math.min(2 * delayMs, MAX_POLL_MS);
        await pause(delayMs, signal);
      }
    } finally {
      this.#stop.abort(new DOMException("the run ended", "AbortError"));
      await sending;
    }
  }

  /** Journals what changed at the service and downloads what is done. @returns whether anything changed */
  async catchUp(): Promise<boolean> {
    const changed = new Map<string, CohortRowStatus>();
    for await (const row of this.#client.changes()) {
      if (!this.#isCurrent(row)) continue;
      this.#reported.set(row.id, row);
      changed.set(row.id, row);
    }
    const rows = [...changed.values()];
    // One append for all: each append waits for the disk.
    this.#journal.append(...rows.flatMap((row) => this.#toEvent(row) ?? []));
    // Rows of the same scan share a job: its results are downloaded once.
    const done = new Map<string, CohortRowStatus[]>();
    for (const row of rows)
      if (row.state === "done") done.set(row.job!, [...(done.get(row.job!) ?? []), row]);
    await forEachConcurrent([...done.values()], DOWNLOADS_AT_ONCE, async (twins) => {
      for (const row of twins) await this.#fetch(row);
    });
    return changed.size > 0;
  }

  /** False for a row of an earlier manifest, or one that will be sent again with another source. */
  #isCurrent({ id, source, mpp }: CohortRowStatus): boolean {
    const row = this.#rows.get(id)?.row;
    if (!row || row.mpp !== mpp) return false;
    const uploaded = isLocal(row.source) ? uploadedSource(this.#journal, row.source) : row.source;
    return uploaded !== undefined && withoutQuery(uploaded) === source;
  }

  /** The journal entry for a row that is not done; undefined if the journal has it already. */
  #toEvent({ id, state, code, reason }: CohortRowStatus): CohortEvent | undefined {
    const { key } = this.#rows.get(id)!;
    const known = this.#journal.states.get(key);
    const at = now();
    switch (state) {
      case "failed":
        return this.#recordFailure(id, {
          code: code ?? "unexpected",
          reason: reason ?? "no reason was given",
        });
      case "running":
        this.#settled.delete(id);
        if (known?.status === "running") return undefined;
        this.#emit({ type: "slide", id, state: "begun" });
        return { at, type: "begun", key };
      case "pending":
        this.#settled.delete(id);
        if (known === undefined || known.status === "pending") return undefined;
        return { at, type: "retried", key };
      case "done":
        return undefined;
    }
  }

  #recordFailure(id: string, { code, reason }: { code: string; reason: string }): CohortEvent | undefined {
    const { key } = this.#rows.get(id)!;
    const known = this.#journal.states.get(key);
    this.#settled.add(id);
    if (known?.status === "failed" && known.code === code && known.reason === reason) return undefined;
    this.#emit({ type: "slide", id, state: "failed", code, reason, left: this.#left() });
    return { at: now(), type: "failed", key, code, reason };
  }

  #fail(id: string, failure: { code: string; reason: string }): void {
    const event = this.#recordFailure(id, failure);
    if (event) this.#journal.append(event);
  }

  /** Downloads the results before the journal says that they exist. */
  async #fetch({ id, job, forecastUsd: forecast }: CohortRowStatus): Promise<void> {
    const { key } = this.#rows.get(id)!;
    const { service, model } = this.#snapshot;
    const { signal } = this.#options;
    try {
      const wanted = { download: service!.download, model, signal };
      await fetchJob(this.#client.jobs, job!, this.#metrics.directory(job!), wanted);
    } catch (error) {
      // Another cohort with the same store downloads the same results.
      if (error instanceof DirectoryLockedError) return this.#fail(id, classifySlideFailure(error, [])!);
      // Deleted at the service: retried when the user asks for it.
      if (!(error instanceof ServiceError) || error.status !== 404) throw error;
      return this.#fail(id, { code: "storage", reason: `the results of job ${job} are not there any more` });
    }
    this.#settled.add(id);
    const known = this.#journal.states.get(key);
    if (known?.status === "done" && known.job === job) return;
    this.#journal.append({
      at: now(),
      type: "done",
      key,
      job: job!,
      found: false,
      ...(forecast !== undefined && { forecast }),
    });
    const { seconds, windows } = this.#metrics.get(job!)!;
    this.#emit({ type: "slide", id, state: "done", found: false, seconds, windows, left: this.#left() });
  }

  /** Sends rows with remote sources at once, the others as their files are uploaded. */
  async #send(): Promise<void> {
    const rows = this.#snapshot.rows;
    const toNewRow = (row: CohortRow, source = row.source) => ({
      id: row.id,
      source,
      ...(row.mpp !== undefined && { mpp: row.mpp }),
    });
    await this.#client.add(rows.filter(({ source }) => !isLocal(source)).map((row) => toNewRow(row)));
    const uploads = new Map<string, Promise<string>>();
    await forEachConcurrent(
      rows.filter(({ source }) => isLocal(source)),
      UPLOADS_AT_ONCE,
      async (row) => {
        this.#stop.signal.throwIfAborted();
        try {
          let upload = uploads.get(row.source);
          if (!upload) {
            upload = this.#upload(row);
            uploads.set(row.source, upload);
          }
          await this.#client.add([toNewRow(row, await upload)]);
        } catch (error) {
          this.#options.signal?.throwIfAborted();
          this.#stop.signal.throwIfAborted();
          if (error instanceof ServiceError) throw error;
          const failure = classifySlideFailure(error, [row.source]);
          if (!failure) throw error;
          // A done scan stays done, even if its file no longer exists here.
          const known = this.#journal.states.get(this.#rows.get(row.id)!.key);
          if (known?.status !== "done") this.#fail(row.id, failure);
        }
      },
    );
  }

  #upload({ id, source }: CohortRow): Promise<string> {
    const { signal } = this.#options;
    const both = signal ? AbortSignal.any([signal, this.#stop.signal]) : this.#stop.signal;
    const onBegin = () => this.#emit({ type: "slide", id, state: "uploading" });
    return uploadSource(this.#client.jobs, this.#journal, source, { signal: both, onBegin });
  }

  #left(): number {
    return this.#rows.size - this.#settled.size;
  }

  #emit(event: CohortProgress): void {
    this.#options.onEvent?.(event);
  }
}

/** The limits that were given; the service keeps the others. */
function toLimits({ parallelSlides, spendLimitUsd, largestFirst }: RunOptions): ChangedLimits {
  return {
    ...(parallelSlides && { concurrency: parallelSlides }),
    ...(spendLimitUsd !== undefined && { spendLimitUsd }),
    ...(largestFirst && { largestFirst }),
  };
}

function now(): string {
  return new Date().toISOString();
}

import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import {
  type ChangedLimits,
  type CloudCohortStatus,
  type CohortJob,
  type CohortRowStatus,
  cohortJobSchema,
  MAX_COHORT_CONCURRENCY,
  MAX_COHORT_ROWS,
} from "../../../orchestrator/cohort-request.ts";
import { eachOf } from "../../../orchestrator/each-of.ts";
import { JobError } from "../../../orchestrator/errors.ts";
import { PASSING } from "../../../orchestrator/scan-failure.ts";
import { JobClient } from "../../job-client.ts";
import { JobFailedError, ServiceError } from "../../job-client-errors.ts";
import { pause } from "../../job-client-retry.ts";
import { checkOptions, loadModelOf } from "../../segment.ts";
import { CohortDirectory, type CohortSnapshot, type Download } from "../cohort-directory.ts";
import { CohortManifestError } from "../cohort-error.ts";
import { findRows } from "../find-rows.ts";
import { type CohortEvent, Journal } from "../journal.ts";
import type { CohortRow } from "../manifest-rows.ts";
import {
  type CohortOptions,
  type CohortResult,
  digest,
  keyOf,
  shapeOf,
  sharedOptions,
} from "../run-cohort.ts";
import { slideFailure } from "../slide-failure.ts";
import { type RowOutcome, takenNames } from "../table.ts";
import { TableWriter } from "../table-writer.ts";
import { totalsOf } from "../totals.ts";
import { FactsCache, outcomesOf, writeReport } from "../write-tables.ts";
import { CohortClient } from "./cohort-client.ts";
import { fetchJob } from "./fetch-job.ts";
import { isLocal, uploadSource } from "./upload-source.ts";

export interface CloudCohortOptions extends CohortOptions {
  /** Address of the job service. */
  to: string;
  /** USD; nothing more begins where another scan would pass it. */
  spendLimitUsd?: number;
  /** What is fetched of each scan that is done; default what the tables are made from. */
  download?: Download;
}

const UPLOADS_AT_ONCE = 2;
const DOWNLOADS_AT_ONCE = 4;
/** Between two looks: short after something moved, doubled while nothing does. */
const FIRST_LOOK_MS = 500;
const LONGEST_LOOK_MS = 10_000;

/**
 * Has a job service segment every scan of a cohort, and writes one table of them all here. The service works by itself:
 * whatever ended an earlier run here, the same call looks on.
 * @throws {CohortManifestError} before anything is written
 * @throws {JobFailedError} where the cohort waits for a higher limit, or was paused or cancelled there
 */
export async function runCloudCohort(options: CloudCohortOptions): Promise<CohortResult> {
  const { out, onEvent = () => {}, signal } = options;
  refuseLocalOnly(options);
  const directory = new CohortDirectory(out);
  directory.refuseOther();
  const client = new JobClient(options.to, { token: options.token, signal });
  const before = directory.refuseOtherPlace(client.url.href);
  const { snapshot, kind } = await snapshotOf(options, client.url.href, before);

  directory.lock();
  let journal: Journal | undefined;
  try {
    directory.write(snapshot);
    journal = Journal.open(directory.journal);
    const facts = new FactsCache(snapshot.store);
    const run = new CloudRun(client, options, snapshot, journal, facts);
    const tables = new TableWriter(directory, snapshot, () => run.outcomes(), facts);
    await run.open();
    const { done, failed, pending } = totalsOf(run.outcomes());
    onEvent({ type: "cohort", rows: snapshot.rows.length, kind, done, failed, toDo: pending });
    await tables.write();
    let end: CloudCohortStatus;
    try {
      end = await run.follow(() => tables.nowAndThen());
    } finally {
      await tables.write().catch((error) => {
        if (!signal?.aborted) throw error;
      });
    }
    const ended = run.outcomes();
    writeReport(directory, snapshot, ended, facts);
    refuseUnfinished(end);
    return { rows: ended.length, out, ...totalsOf(ended) };
  } finally {
    journal?.close();
    directory.unlock();
  }
}

/** Fetches what a service has done by now, without waiting for the rest. */
export async function fetchCloudCohort(
  path: string,
  access: { token?: string; signal?: AbortSignal },
): Promise<void> {
  const directory = new CohortDirectory(path);
  const snapshot = directory.read();
  const client = new JobClient(snapshot.service!.url, access);
  directory.lock();
  let journal: Journal | undefined;
  try {
    journal = Journal.open(directory.journal);
    const options = { ...access, out: path };
    const run = new CloudRun(client, options, snapshot, journal, new FactsCache(snapshot.store));
    await run.catchUp();
  } finally {
    journal?.close();
    directory.unlock();
  }
}

type RunOptions = Pick<
  CloudCohortOptions,
  "out" | "signal" | "onEvent" | "slidesAtOnce" | "largestFirst" | "spendLimitUsd"
>;

class CloudRun {
  readonly #client: CohortClient;
  readonly #options: RunOptions;
  readonly #snapshot: CohortSnapshot;
  readonly #journal: Journal;
  readonly #facts: FactsCache;
  /** Of each id of the manifest, the row and its key. */
  readonly #rows: ReadonlyMap<string, { row: CohortRow; key: string }>;
  /** Rows as the service told last, and those that are done or failed. */
  readonly #told = new Map<string, CohortRowStatus>();
  readonly #settled: Set<string>;
  readonly #stop = new AbortController();

  constructor(
    client: JobClient,
    options: RunOptions,
    snapshot: CohortSnapshot,
    journal: Journal,
    facts: FactsCache,
  ) {
    this.#client = new CohortClient(client, snapshot.service!.cohort);
    this.#options = options;
    this.#snapshot = snapshot;
    this.#journal = journal;
    this.#facts = facts;
    this.#rows = new Map(snapshot.rows.map((row, i) => [row.id, { row, key: snapshot.keys[i]! }]));
    const ended = this.outcomes().filter(({ status }) => status === "done" || status === "failed");
    this.#settled = new Set(ended.map(({ row }) => row.id));
  }

  outcomes(): RowOutcome[] {
    return outcomesOf(this.#snapshot, this.#journal.states, this.#facts);
  }

  /** Opens the cohort there, or goes on with it under the limits of this run; what failed in passing is tried again. */
  async open(): Promise<void> {
    const limits = limitsOf(this.#options);
    const { state } = await this.#client.open(this.#snapshot.service!.job, limits);
    if (Object.keys(limits).length > 0) await this.#client.setLimits(limits);
    if (state === "paused" || state === "cancelled") await this.#client.resume();
    await this.catchUp();
    const again = [...this.#told.values()].filter(({ id, state, code }) => {
      const key = this.#rows.get(id)?.key;
      if (key === undefined) return false;
      if (state === "failed") return PASSING.has(code!);
      // Done there, and its results were removed since.
      return state === "done" && this.#journal.states.get(key)?.status === "failed";
    });
    if (again.length > 0) await this.#client.retry(again.map(({ id }) => id));
  }

  /** Sends what is not there and looks on until nothing moves any more. */
  async follow(now: () => Promise<void>): Promise<CloudCohortStatus> {
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
      for (let delayMs = FIRST_LOOK_MS; ; ) {
        if (failure) throw failure.error;
        // Asked before the rows are: what they tell is then no older.
        const wasSent = sent;
        const status = await this.#client.status();
        const moved = await this.catchUp();
        const { pending, running } = status.rows;
        if (wasSent && running === 0 && (pending === 0 || status.state !== "running")) return status;
        await now();
        delayMs = moved ? FIRST_LOOK_MS : Math.min(2 * delayMs, LONGEST_LOOK_MS);
        await pause(delayMs, signal);
      }
    } finally {
      this.#stop.abort(new DOMException("the run ended", "AbortError"));
      await sending;
    }
  }

  /** Notes what changed there, and fetches what is done. @returns whether something changed */
  async catchUp(): Promise<boolean> {
    const changed = new Map<string, CohortRowStatus>();
    for await (const row of this.#client.changes()) {
      this.#told.set(row.id, row);
      if (this.#rows.has(row.id)) changed.set(row.id, row);
    }
    const rows = [...changed.values()];
    // One write for all: each is waited for until it is on the disk.
    this.#journal.append(...rows.flatMap((row) => this.#eventOf(row) ?? []));
    const done = rows.filter(({ state }) => state === "done");
    await eachOf(done, DOWNLOADS_AT_ONCE, (row) => this.#fetch(row));
    return changed.size > 0;
  }

  /** What is to be written down of a row that is not done; undefined where that is known already. */
  #eventOf({ id, state, code, reason }: CohortRowStatus): CohortEvent | undefined {
    const { key } = this.#rows.get(id)!;
    const known = this.#journal.states.get(key);
    const at = now();
    switch (state) {
      case "failed":
        return this.#failure(id, { code: code ?? "unexpected", reason: reason ?? "no reason was given" });
      case "running":
        this.#settled.delete(id);
        if (known?.status === "running") return undefined;
        this.#tell({ type: "slide", id, state: "begun" });
        return { at, type: "begun", key };
      case "pending":
        this.#settled.delete(id);
        if (known === undefined || known.status === "pending") return undefined;
        return { at, type: "retried", key };
      case "done":
        return undefined;
    }
  }

  #failure(id: string, { code, reason }: { code: string; reason: string }): CohortEvent | undefined {
    const { key } = this.#rows.get(id)!;
    const known = this.#journal.states.get(key);
    if (known?.status === "failed" && known.code === code && known.reason === reason) return undefined;
    this.#settled.add(id);
    this.#tell({ type: "slide", id, state: "failed", code, reason, left: this.#left() });
    return { at: now(), type: "failed", key, code, reason };
  }

  #fail(id: string, failure: { code: string; reason: string }): void {
    const event = this.#failure(id, failure);
    if (event) this.#journal.append(event);
  }

  /** Results before the word that they are there. */
  async #fetch({ id, job, forecastUsd: forecast }: CohortRowStatus): Promise<void> {
    const { key } = this.#rows.get(id)!;
    const { service, model } = this.#snapshot;
    const { signal } = this.#options;
    try {
      const wanted = { download: service!.download, model, signal };
      await fetchJob(this.#client.jobs, job!, this.#facts.directory(job!), wanted);
    } catch (error) {
      // Removed there: to be done again when somebody asks for it.
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
    const { seconds, windows } = this.#facts.get(job!)!;
    this.#tell({ type: "slide", id, state: "done", found: false, seconds, windows, left: this.#left() });
  }

  /** Rows whose sources lie there at once, the others as their files come. */
  async #send(): Promise<void> {
    const rows = this.#snapshot.rows;
    const given = (row: CohortRow, source = row.source) => ({
      id: row.id,
      source,
      ...(row.mpp !== undefined && { mpp: row.mpp }),
    });
    await this.#client.add(rows.filter(({ source }) => !isLocal(source)).map((row) => given(row)));
    const uploads = new Map<string, Promise<string>>();
    await eachOf(
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
          await this.#client.add([given(row, await upload)]);
        } catch (error) {
          this.#options.signal?.throwIfAborted();
          this.#stop.signal.throwIfAborted();
          if (error instanceof ServiceError) throw error;
          const failure = slideFailure(error, [row.source]);
          if (!failure) throw error;
          // What is done stays done, though its file is not here any more.
          const known = this.#journal.states.get(this.#rows.get(row.id)!.key);
          if (known?.status !== "done") this.#fail(row.id, failure);
        }
      },
    );
  }

  #upload({ id, source }: CohortRow): Promise<string> {
    const { signal } = this.#options;
    const both = signal ? AbortSignal.any([signal, this.#stop.signal]) : this.#stop.signal;
    const onBegin = () => this.#tell({ type: "slide", id, state: "uploading" });
    return uploadSource(this.#client.jobs, this.#journal, source, { signal: both, onBegin });
  }

  #left(): number {
    return this.#rows.size - this.#settled.size;
  }

  #tell(event: Parameters<NonNullable<CohortOptions["onEvent"]>>[0]): void {
    this.#options.onEvent?.(event);
  }
}

/** What only means something where the model runs on this machine. */
function refuseLocalOnly({
  mask,
  series,
  backends,
  batchSize,
  concurrency,
  slidesAtOnce,
}: CloudCohortOptions) {
  const given = { mask, series, backend: backends, "batch-size": batchSize, concurrency };
  const [name] = Object.entries(given).find(([, value]) => value !== undefined) ?? [];
  if (name !== undefined) throw new JobError(`--${name} is for runs on this machine: leave it out with --to`);
  if (slidesAtOnce === undefined) return;
  if (Number.isInteger(slidesAtOnce) && slidesAtOnce >= 1 && slidesAtOnce <= MAX_COHORT_CONCURRENCY) return;
  throw new JobError(`slides at once must be a whole number from 1 to ${MAX_COHORT_CONCURRENCY}`);
}

/** The checked manifest and command. A directory keeps the cohort that it has at the service. */
async function snapshotOf(
  options: CloudCohortOptions,
  url: string,
  before: CohortSnapshot | undefined,
): Promise<{ snapshot: CohortSnapshot; kind: string }> {
  const {
    to: _to,
    spendLimitUsd: _spend,
    download = before?.service?.download ?? "tables",
    ...local
  } = options;
  const shared = sharedOptions(local);
  const { settings, outputs, segType } = checkOptions(shared);
  const model = await loadModelOf({ ...shared, signal: options.signal });
  const shape = shapeOf(model);
  const { name, version } = model.manifest;
  const job = jobOf({ model: name, variant: shared.variant, mpp: shared.mpp, settings, outputs, segType });
  if (before && digest(before.service!.job) !== digest(job)) {
    throw new JobError(
      `${options.out} holds a cohort with another model or other settings: choose another --out, or go on with the same`,
    );
  }
  const { kind, covariates, rows } = await findRows(
    options.cohort,
    takenNames(shape),
    options.out,
    options.signal,
  );
  refuseRows(options.cohort, rows);
  const snapshot: CohortSnapshot = {
    formatVersion: 1,
    cohort: /^s3:/i.test(options.cohort) ? options.cohort : resolve(options.cohort.replace(/^file:\/\//, "")),
    options: shared,
    store: resolve(options.store ?? join(options.out, "jobs")),
    // 0: as the service has it.
    slidesAtOnce: options.slidesAtOnce ?? before?.slidesAtOnce ?? 0,
    largestFirst: options.largestFirst ?? before?.largestFirst ?? false,
    model: { name, version, hash: model.hash },
    ...shape,
    covariates,
    rows,
    keys: rows.map((row) => keyOf(row, shared, digest(job))),
    service: { url, cohort: before?.service?.cohort ?? randomBytes(16).toString("hex"), job, download },
  };
  return { snapshot, kind };
}

function jobOf(asked: object): CohortJob {
  const parsed = cohortJobSchema.safeParse(asked);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new JobError(`option ${path.join(".")}: ${message}`);
}

function refuseRows(cohort: string, rows: readonly CohortRow[]): void {
  const problems = rows
    .filter(({ mask }) => mask !== undefined)
    .map(({ line }) => `line ${line}: masks are for runs on this machine: leave them out with --to`);
  if (rows.length > MAX_COHORT_ROWS)
    problems.push(`there are ${rows.length} rows: a service takes ${MAX_COHORT_ROWS} in one cohort`);
  if (problems.length > 0) throw new CohortManifestError(cohort, problems);
}

/** What was typed; the rest stays as it is there. */
function limitsOf({ slidesAtOnce, spendLimitUsd, largestFirst }: RunOptions): ChangedLimits {
  return {
    ...(slidesAtOnce && { concurrency: slidesAtOnce }),
    ...(spendLimitUsd !== undefined && { spendLimitUsd }),
    ...(largestFirst && { largestFirst }),
  };
}

function refuseUnfinished({ state, reason, rows }: CloudCohortStatus): void {
  if (rows.pending === 0) return;
  if (state === "cancelled") {
    throw new JobFailedError(
      `the cohort was cancelled with ${rows.pending} scans to do: the same command goes on`,
    );
  }
  if (state === "paused") {
    throw new JobFailedError(
      `the cohort is paused with ${rows.pending} scans to do: ${reason ?? "somebody asked for it, and the same command goes on"}`,
    );
  }
}

function now(): string {
  return new Date().toISOString();
}

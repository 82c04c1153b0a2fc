import type { PlannedJob } from "../../src/contracts/job-plan-message.ts";
import type { ImageSource } from "../../src/image/image-source.ts";
import type { Segmenter } from "../../src/inference/segmenter.ts";
import type { ModelManifest } from "../../src/model-package/manifest.ts";
import { JobError } from "../../src/orchestrator/errors.ts";
import { runShard } from "../../src/orchestrator/map/run-shard.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { ObjectChangedError } from "../../src/storage/errors.ts";
import { shardAt } from "../../src/tiling/grid/shards.ts";
import { encodeMaskBatch } from "../../src/tiling/wire/mask-batch.ts";
import type { ShardReport, WorkClient } from "./work-client.ts";

/** Jobs kept open with plan and source, because the shards of a job arrive one after another. */
const KEPT_JOBS = 4;

interface OpenJob {
  planned: PlannedJob;
  source: ImageSource;
  /** Bytes of the source that are already in a report. */
  reported: number;
}

interface KeptJob {
  opening: Promise<OpenJob>;
  /** Shards that use the job or wait for it to open. */
  users: number;
  /** Whether no new shard may use it; the last user closes the source. */
  dropped: boolean;
}

/** Runs shards. Plan, pixels and records are transferred through `/v1/work`. */
export class ShardWorker {
  readonly #work: WorkClient;
  readonly #model: { manifest: ModelManifest; hash: string };
  readonly #segmenter: Segmenter;
  readonly #together: number;
  readonly #jobs = new Map<string, KeptJob>();

  /** @param together concurrent windows of a shard */
  constructor(
    work: WorkClient,
    model: { manifest: ModelManifest; hash: string },
    segmenter: Segmenter,
    together: number,
  ) {
    this.#work = work;
    this.#model = model;
    this.#segmenter = segmenter;
    this.#together = together;
  }

  /** Reads, segments and uploads one shard. @throws errors for `consumeTask` */
  async run(jobId: string, id: number, signal: AbortSignal): Promise<ShardReport> {
    const kept = this.#keep(jobId, signal);
    kept.users++;
    try {
      const open = await kept.opening;
      const { job, plan } = open.planned;
      const shard = shardAt(plan.grid, plan.kept, plan.shardBlock, id);
      if (!shard) throw new JobError(`shard ${id} is not in the plan`);
      const { info } = this.#segmenter;
      const { manifest, hash } = this.#model;
      const started = performance.now();
      const records = await runShard({
        source: open.source,
        manifest,
        plan,
        shard,
        segmenter: this.#segmenter,
        together: this.#together,
        signal,
      });
      const bytes = encodeMaskBatch({
        model: hash,
        variant: info.variant,
        precision: plan.precision,
        shape: [manifest.classes.length, ...plan.grid.window],
        records,
      });
      await this.#work.putRecords(job.id, id, bytes, signal);
      const bytesRead = open.source.bytesRead - open.reported;
      open.reported += bytesRead;
      return {
        windows: records.length,
        bytesRead,
        modelMilliseconds: performance.now() - started,
        runtime: `${info.runtime} (runner)`,
      };
    } catch (error) {
      // After an error the source is opened again.
      this.#drop(jobId, kept);
      throw error;
    } finally {
      if (--kept.users === 0 && kept.dropped) await closeJob(kept);
    }
  }

  /** Call it after the last shard. */
  async close(): Promise<void> {
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    await Promise.all(jobs.map(closeJob));
  }

  #keep(jobId: string, signal: AbortSignal): KeptJob {
    const known = this.#jobs.get(jobId);
    if (known) return known;
    const kept: KeptJob = { opening: this.#load(jobId, signal), users: 0, dropped: false };
    this.#jobs.set(jobId, kept);
    for (const [oldest, job] of this.#jobs) {
      if (this.#jobs.size <= KEPT_JOBS) break;
      this.#drop(oldest, job);
      if (job.users === 0) void closeJob(job);
    }
    return kept;
  }

  #drop(jobId: string, job: KeptJob): void {
    job.dropped = true;
    // It may have been replaced by a new one.
    if (this.#jobs.get(jobId) === job) this.#jobs.delete(jobId);
  }

  async #load(jobId: string, signal: AbortSignal): Promise<OpenJob> {
    const planned = await this.#work.plan(jobId, signal);
    const { job } = planned;
    const { variant } = this.#segmenter.info;
    if (job.model.hash !== this.#model.hash || job.model.variant !== variant) {
      throw new JobError(
        `the runner holds ${this.#model.manifest.name} ${variant}, job ${jobId} was planned for ${job.model.name} ${job.model.variant} with other weights: start the runner with the package of the job service`,
      );
    }
    const { name, etag, uri, kind } = job.source;
    const { mpp, series } = job.request;
    const store = await this.#work.source(job, signal);
    const source = await openImage(store, name, { mpp, series, signal });
    // Prefixes are compared when their objects are listed; parts of an archive have their own etag.
    const same =
      kind === "prefix" ||
      bare(source.etag) === bare(etag) ||
      bare((await store.head(name, { signal }))?.etag ?? "") === bare(etag);
    if (!same) {
      await source.close();
      throw new ObjectChangedError(uri);
    }
    return { planned, source, reported: 0 };
  }
}

/** Closes the source of a job, if it was opened. Errors are ignored. */
async function closeJob({ opening }: KeptJob): Promise<void> {
  await opening.then(({ source }) => source.close()).catch(() => {});
}

/** Stores write etags with quotes or without. */
function bare(etag: string): string {
  return etag.replaceAll('"', "");
}

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

/** Jobs whose plan and source stay open: their shards come one after another. */
const KEPT_JOBS = 4;

interface OpenJob {
  planned: PlannedJob;
  source: ImageSource;
  /** Bytes of the source that were reported already. */
  told: number;
}

interface KeptJob {
  opening: Promise<OpenJob>;
  /** Shards that use it, or wait for it to be open. */
  users: number;
  /** Not to be used by more: its source is closed by the last that does. */
  dropped: boolean;
}

/** Does the shards of jobs whose plan, pixels and records travel through `/v1/work`. */
export class ShardWorker {
  readonly #work: WorkClient;
  readonly #model: { manifest: ModelManifest; hash: string };
  readonly #segmenter: Segmenter;
  readonly #together: number;
  readonly #jobs = new Map<string, KeptJob>();

  /** @param together windows of a shard that are under way at a time */
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

  /** Reads, segments and hands in one shard. @throws what a ledger is to be told */
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
      const bytesRead = open.source.bytesRead - open.told;
      open.told += bytesRead;
      return {
        windows: records.length,
        bytesRead,
        modelMilliseconds: performance.now() - started,
        runtime: `${info.runtime} (runner)`,
      };
    } catch (error) {
      // A source whose reading failed is opened anew.
      this.#drop(jobId, kept);
      throw error;
    } finally {
      if (--kept.users === 0 && kept.dropped) await closed(kept);
    }
  }

  /** When no shard is under way any more. */
  async close(): Promise<void> {
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    await Promise.all(jobs.map(closed));
  }

  #keep(jobId: string, signal: AbortSignal): KeptJob {
    const known = this.#jobs.get(jobId);
    if (known) return known;
    const kept: KeptJob = { opening: this.#load(jobId, signal), users: 0, dropped: false };
    this.#jobs.set(jobId, kept);
    for (const [oldest, job] of this.#jobs) {
      if (this.#jobs.size <= KEPT_JOBS) break;
      this.#drop(oldest, job);
      if (job.users === 0) void closed(job);
    }
    return kept;
  }

  #drop(jobId: string, job: KeptJob): void {
    job.dropped = true;
    // By now another may have been opened in its place.
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
    // A prefix was compared when its objects were handed out; a part of an archive has an etag of its own.
    const same =
      kind === "prefix" ||
      bare(source.etag) === bare(etag) ||
      bare((await store.head(name, { signal }))?.etag ?? "") === bare(etag);
    if (!same) {
      await source.close();
      throw new ObjectChangedError(uri);
    }
    return { planned, source, told: 0 };
  }
}

/** Closes a job's source, where it was ever opened; what goes wrong with that is of no consequence to anybody. */
async function closed({ opening }: KeptJob): Promise<void> {
  await opening.then(({ source }) => source.close()).catch(() => {});
}

/** Stores write etags with quotes or without. */
function bare(etag: string): string {
  return etag.replaceAll('"', "");
}

import type { Message, MessageBatch } from "@cloudflare/workers-types";
import { JobError } from "../../orchestrator/errors.ts";
import { runShard } from "../../orchestrator/map/run-shard.ts";
import { consumeTask } from "../../service/consume-task.ts";
import { shardAt } from "../../tiling/grid/shards.ts";
import { encodeMaskBatch } from "../../tiling/wire/mask-batch.ts";
import { jobKeys } from "../shared/job-keys.ts";
import {
  createTaskLedger,
  getLedger,
  heartbeatSeconds,
  retrySeconds,
  type TaskReport,
} from "../shared/ledger-port.ts";
import type { ShardMessage } from "../shared/queue-messages.ts";
import { readPlan } from "../shared/read-plan.ts";
import { resultsStore } from "../shared/results-store.ts";
import { SourceHost } from "../sources/job-source.ts";
import type { ModelHost } from "./model-host.ts";
import { parseSettings, type SegmentBindings } from "./settings.ts";

/** A source that does not respond must not block the queue. */
const TIMEOUT_SECONDS = 240;

/** Consumes shards from the queue: reads and segments pixels, stores the records, then reports to the ledger. */
export class ShardConsumer {
  readonly #host: ModelHost;
  readonly #sources = new SourceHost();

  constructor(host: ModelHost) {
    this.#host = host;
  }

  async consume(batch: MessageBatch<unknown>, env: SegmentBindings): Promise<void> {
    for (const message of batch.messages as readonly Message<ShardMessage>[]) {
      const { job, shard } = message.body;
      if (!env.LEDGERS) throw new Error("the binding LEDGERS is missing: shards cannot be reported");
      const ledger = getLedger(env.LEDGERS, job);
      const work = () => this.#run(env, job, shard);
      await consumeTask(message, createTaskLedger(ledger, "shard", shard), work, {
        retrySeconds: retrySeconds(env),
        heartbeatSeconds: heartbeatSeconds(env),
      });
    }
  }

  async #run(env: SegmentBindings, jobId: string, id: number): Promise<TaskReport> {
    if (!env.RESULTS) throw new Error("the binding RESULTS is missing: records cannot be stored");
    const { job, plan } = await readPlan(env.RESULTS, jobId);
    const shard = shardAt(plan.grid, plan.kept, plan.shardBlock, id);
    if (!shard) throw new JobError(`shard ${id} is not in the plan`);
    const store = resultsStore(env.RESULTS);
    const key = jobKeys.records(jobId, id);
    // An earlier attempt stored them and its report was lost: the bytes would be the same.
    if (await store.head(key)) return { windows: shard.windows.length };
    const model = await this.#host.model(parseSettings(env));
    if (model.hash !== job.model.hash || model.segmenter.info.variant !== job.model.variant) {
      throw new JobError(
        `the edge function holds another model than job ${jobId} was planned for: deploy both Workers with the same MODEL and VARIANT, and the same package in the bucket`,
      );
    }
    const signal = AbortSignal.timeout(seconds(env) * 1000);
    const pauseMs = Number(env.PAUSE_MS) || 0;
    return this.#sources.use(env, job, signal, async (source, bytesBefore) => {
      const runBefore = model.segmenter.runMilliseconds;
      const records = await runShard({
        source,
        manifest: model.manifest,
        plan,
        shard,
        segmenter: model.segmenter,
        beforeWindow: pauseMs > 0 ? () => new Promise((resume) => setTimeout(resume, pauseMs)) : undefined,
        signal,
      });
      const bytes = encodeMaskBatch({
        model: model.hash,
        variant: model.segmenter.info.variant,
        precision: plan.precision,
        shape: [model.manifest.classes.length, ...plan.grid.window],
        records,
      });
      await store.put(key, bytes, { ifNoneMatch: "*" });
      const { runtime } = model.segmenter.info;
      return {
        windows: records.length,
        bytesRead: source.bytesRead - bytesBefore,
        modelMilliseconds: model.segmenter.runMilliseconds - runBefore,
        runtime: `${runtime} (edge function)`,
      };
    });
  }
}

function seconds({ SHARD_TIMEOUT_SECONDS }: SegmentBindings): number {
  return Number(SHARD_TIMEOUT_SECONDS) || TIMEOUT_SECONDS;
}

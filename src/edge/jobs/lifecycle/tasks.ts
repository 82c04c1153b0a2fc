import { encodePlannedJob, type JobDocument, type PlannedJob } from "../../../contracts/job-plan-message.ts";
import { JobError } from "../../../orchestrator/errors.ts";
import type { JobPlan } from "../../../orchestrator/job-plan.ts";
import { labelMapInfo } from "../../../orchestrator/label-map.ts";
import { edgeShardBlock } from "../../../orchestrator/map/edge-shards.ts";
import { type MergeBlock, mergeBlock, planMergeBlocks } from "../../../orchestrator/map/merge-block.ts";
import { measureQuality } from "../../../orchestrator/plan/image-quality.ts";
import { planCoverage } from "../../../orchestrator/plan/plan-coverage.ts";
import { planJob } from "../../../orchestrator/plan/plan-job.ts";
import { chooseOutputs } from "../../../orchestrator/run/choose-outputs.ts";
import { finishJob, labelStoreIsOutput } from "../../../orchestrator/run/finish-job.ts";
import { StorageError } from "../../../storage/errors.ts";
import { chunkGrid, chunkIndex } from "../../../tiling/grid/chunk-grid.ts";
import type { Shard } from "../../../tiling/grid/shards.ts";
import { decodeMaskBatch } from "../../../tiling/wire/mask-batch.ts";
import type { MaskRecord } from "../../../tiling/wire/mask-record.ts";
import { WireFormatError } from "../../../tiling/wire/wire-message.ts";
import { ZarrLabelStore } from "../../../writers/ome-zarr/label-store.ts";
import { jobKeys } from "../../shared/job-keys.ts";
import { getLedger, type Ledger, type TaskReport } from "../../shared/ledger-port.ts";
import type { TaskMessage } from "../../shared/queue-messages.ts";
import { readPlan } from "../../shared/read-plan.ts";
import { resultsStore } from "../../shared/results-store.ts";
import { openJobSource } from "../../sources/job-source.ts";
import type { Bindings } from "../context/bindings.ts";
import { type ConfiguredModel, getConfiguredModel } from "../context/configured-model.ts";
import { bucketTargets } from "./bucket-targets.ts";
import { describeRun } from "./describe-run.ts";

const LABELS = "labels.ome.zarr";
/** A source that does not respond must not block the queue; finishing a large slide takes minutes. */
const TIMEOUT_MS = 600_000;
/** Rows of chunks between two heartbeats. */
const HEARTBEAT_ROWS = 4;

/** Runs one task. Tasks are idempotent: they write the same bytes under the same keys. */
export async function runTask(env: Bindings, { job, kind, id }: TaskMessage): Promise<TaskReport> {
  const ledger = getLedger(env.LEDGERS!, job);
  switch (kind) {
    case "plan":
      return plan(env, ledger);
    case "merge":
      return merge(env, await readPlan(env.RESULTS!, job), id, ledger);
    case "finish":
      return finish(env, await readPlan(env.RESULTS!, job), ledger);
  }
}

/** The configured model. @throws {JobError} where it is not the one that the job was created for */
async function getJobModel(env: Bindings, job: JobDocument): Promise<ConfiguredModel> {
  const model = await getConfiguredModel(env);
  if (model.hash !== job.model.hash || model.manifest.version !== job.model.version) {
    throw new JobError("the model package was replaced while the job ran: start the job again");
  }
  return model;
}

async function plan(env: Bindings, ledger: Ledger): Promise<TaskReport> {
  const job = (await ledger.document())!;
  const { manifest } = await getJobModel(env, job);
  const { settings } = job.request;
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const source = await openJobSource(env, job, signal);
  // Not at creation, because planning is the first to open the source.
  const outputs = chooseOutputs(source, job.request.outputs);
  const planned = await planJob(source, manifest, settings, {
    thumbnail: outputs.includes("overlay.png"),
    signal,
    shardBlock: (about) => edgeShardBlock(about, manifest.classes.length, settings.precision),
  });
  checkSize(env, planned);
  const chosen = { ...job, request: { ...job.request, outputs } };
  await resultsStore(env.RESULTS!).put(
    jobKeys.plan(job.id),
    encodePlannedJob({ job: chosen, plan: planned }),
  );
  await ledger.setWindows(planned.kept.size);
  return { bytesRead: source.bytesRead };
}

/**
 * Rejects a job that finishing cannot complete: it reads the whole label map in one invocation of limited CPU time. Checked
 * before the windows are paid for.
 */
function checkSize({ MAX_GIGAPIXELS }: Bindings, plan: JobPlan): void {
  if (!MAX_GIGAPIXELS) return;
  const gigapixels = planCoverage(plan).covered / 1e9;
  if (gigapixels <= Number(MAX_GIGAPIXELS)) return;
  throw new JobError(
    `the windows cover ${gigapixels.toFixed(1)} gigapixels, this service accepts ${MAX_GIGAPIXELS}: choose a coarser level or a roi`,
  );
}

/** Cached per plan, because merge tasks of a job arrive together. */
const blocks = new WeakMap<JobPlan, MergeBlock[]>();

function getMergeBlocks(plan: JobPlan): MergeBlock[] {
  let found = blocks.get(plan);
  if (!found) {
    found = planMergeBlocks(plan);
    blocks.set(plan, found);
  }
  return found;
}

async function merge(
  env: Bindings,
  { job, plan }: PlannedJob,
  id: number,
  ledger: Ledger,
): Promise<TaskReport> {
  const block = getMergeBlocks(plan).find((b) => b.id === id);
  if (!block) throw new JobError(`block ${id} is not in the plan`);
  const { manifest } = await getJobModel(env, job);
  const labelStore = openLabels(env, job, plan, labelMapInfo(manifest, plan), []);
  const store = resultsStore(env.RESULTS!);
  const statistics = await mergeBlock({
    plan,
    classes: manifest.classes.length,
    block,
    readRecords: async (shard) => {
      const object = await store.get(jobKeys.records(job.id, shard.id));
      const records = object && decodeRecords(object.bytes, job, shard);
      if (records) return records;
      // The edge function computes them again while this task is retried.
      await env.RESULTS!.delete(jobKeys.records(job.id, shard.id));
      await ledger.requeueShard(shard.id);
      throw new StorageError(
        `the records of shard ${shard.id} are ${object ? "damaged" : "gone"} and are computed again`,
        { retryable: true },
      );
    },
    writeChunk: (chunk) => labelStore.writeChunk(chunk),
  });
  return { merge: statistics };
}

/** Decodes the records of a shard. @returns undefined where the object holds other data */
function decodeRecords(bytes: Uint8Array, job: JobDocument, shard: Shard): readonly MaskRecord[] | undefined {
  try {
    const batch = decodeMaskBatch(bytes);
    const windows = batch.records.map((record) => record.window).join();
    if (batch.model === job.model.hash && windows === shard.windows.join()) return batch.records;
  } catch (error) {
    if (!(error instanceof WireFormatError)) throw error;
  }
  return undefined;
}

async function finish(env: Bindings, planned: PlannedJob, ledger: Ledger): Promise<TaskReport> {
  const { job, plan } = planned;
  const { manifest } = await getJobModel(env, job);
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const source = await openJobSource(env, job, signal);
  const coverage = planCoverage(plan);
  const chunks = chunkGrid(plan.region.size, plan.chunk);
  const present = [...coverage.chunks].map((c) => chunkIndex(chunks, c).join("/"));
  const labelStore = openLabels(env, job, plan, labelMapInfo(manifest, plan), present);
  const results = jobKeys.results(job.id);
  let rows = 0;
  const report = await finishJob({
    labelStore,
    targets: bucketTargets(env.RESULTS!, results, labelStoreIsOutput(plan) ? labelStore : undefined),
    model: { manifest, hash: job.model.hash },
    plan,
    coverage,
    source,
    sourceName: job.source.name,
    outputs: job.request.outputs!,
    segType: job.request.segType,
    overlayStyle: job.request.settings.overlay,
    signal,
    onProgress: () => {
      // Losing a heartbeat is safe.
      if (++rows % HEARTBEAT_ROWS === 0) ledger.heartbeat().catch(() => {});
    },
  });
  // Another attempt may have finished the job, or it was cancelled: then it keeps its run.json.
  if ((await ledger.claim("finish", 0)) === "skip") return {};
  const manifestJson = await describeRun(env, {
    classes: manifest.classes.length,
    planned,
    source,
    coverage,
    report,
    // For every job, because any cohort may find it later.
    quality: await measureQuality(source, plan, signal),
    ledger,
  });
  await resultsStore(env.RESULTS!).put(
    jobKeys.manifest(job.id),
    new TextEncoder().encode(`${JSON.stringify(manifestJson, null, 2)}\n`),
    { contentType: "application/json" },
  );
  await ledger.setOutputs(report.outputs);
  return { bytesRead: source.bytesRead };
}

/**
 * Opens the label store without listing it: the plan says which chunks exist, and the ledger that they are written. A map
 * that is rotated or cropped for the outputs is temporary.
 */
function openLabels(
  env: Bindings,
  job: JobDocument,
  plan: JobPlan,
  info: ConstructorParameters<typeof ZarrLabelStore>[2],
  present: readonly string[],
): ZarrLabelStore {
  const keys = labelStoreIsOutput(plan) ? jobKeys.results(job.id) : jobKeys.work(job.id);
  return new ZarrLabelStore(resultsStore(env.RESULTS!, keys), LABELS, info, new Set(present));
}

import type { ImageSource } from "../../image/image-source.ts";
import type { LabelStore } from "../../image/label-sink.ts";
import type { OutputName, OutputTargets, SegmentationType } from "../../image/output-targets.ts";
import type { ModelPackage } from "../../model-package/load-package.ts";
import { chunkGrid, chunkIndex } from "../../tiling/grid/chunk-grid.ts";
import type { Coverage } from "../../tiling/grid/coverage.ts";
import { JobError } from "../errors.ts";
import type { JobPlan } from "../job-plan.ts";
import { type MapProgress, type MapStatistics, mapAndMerge } from "../map/map-and-merge.ts";
import { recomputeSeamStatistics } from "../map/recompute-seam-statistics.ts";
import type { ObjectListener, OutputsReport } from "../outputs/outputs-options.ts";
import type { OverlayStyle } from "../outputs/overlay.ts";
import { canStream, StreamingLabelStore } from "../outputs/streaming-label-store.ts";
import { type Backend, type BackendReport, startReport } from "../scheduler/backend.ts";
import type { Clock } from "../scheduler/clock.ts";
import { finishJob } from "./finish-job.ts";

export interface RunJobOptions {
  source: ImageSource;
  sourceName: string;
  model: ModelPackage;
  plan: JobPlan;
  /** `planCoverage(plan)`. */
  coverage: Coverage;
  backends: readonly Backend[];
  /** May hold chunks of an earlier attempt; those are not computed again. */
  labelStore: LabelStore;
  targets: OutputTargets;
  outputs: readonly OutputName[];
  segType?: SegmentationType;
  overlayStyle?: OverlayStyle;
  batchSize: number;
  clock: Clock;
  /** Sums over all attempts; this one is added. */
  statistics: MapStatistics;
  /** Whether chunks of an earlier attempt exist, so that seams have to be counted again. */
  isResumed: boolean;
  /** Called for each object of a 2-D image, in their order. */
  onObject?: ObjectListener;
  signal?: AbortSignal;
  /** Delays the map until the backends are free. */
  whileMapping<T>(map: () => Promise<T>): Promise<T>;
  /** Called after the map, also if it failed. */
  onMapped(): Promise<void>;
  onPhase(phase: "segmenting" | "writing outputs"): void;
  onProgress(progress: MapProgress): void;
  onDisabled(backend: string, reason: string): void;
}

export interface JobResult {
  backends: BackendReport[];
  report: OutputsReport;
  /** Milliseconds of the clock: waiting for the backends, segmenting, and writing outputs after that. */
  milliseconds: { waiting: number; segmenting: number; outputs: number };
}

/**
 * Runs a planned job in this process: segments and merges what the label store lacks, and writes the outputs. On all
 * but the widest slides outputs are written while the map still runs. An error on either side ends both.
 * @throws {JobError} if a chunk is missing in the end; errors of the map and of the outputs; the signal's reason
 */
export async function runJob(options: RunJobOptions): Promise<JobResult> {
  const { plan, coverage, labelStore, clock, signal, statistics } = options;
  const chunks = chunkGrid(plan.region.size, plan.chunk);
  const expected = new Set([...coverage.chunks].map((chunk) => chunkIndex(chunks, chunk).join()));
  const streaming = new StreamingLabelStore(labelStore, (index) => expected.has(index.join()));
  const stop = new AbortController();
  const cancel = () => stop.abort(signal!.reason);
  signal?.addEventListener("abort", cancel);
  let writing: Promise<OutputsReport> | undefined;
  const write = () =>
    finishJob({ ...options, labelStore: streaming, signal: stop.signal, onProgress: undefined });
  try {
    const planned = clock.now();
    const mapped = await options.whileMapping(async () => {
      signal?.throwIfAborted();
      const started = clock.now();
      options.onPhase("segmenting");
      if (canStream(labelStore.info)) {
        writing = write();
        writing.catch((error) => stop.abort(error));
      }
      const reports = await segmentMissingChunks(options, streaming, stop.signal);
      const segmenting = clock.now() - started;
      return {
        backends: reports.map((report) => report(segmenting / 1000)),
        waiting: started - planned,
        segmenting,
      };
    });
    const ended = clock.now();
    options.onPhase("writing outputs");
    if (options.isResumed)
      statistics.seams = await recomputeSeamStatistics(labelStore, plan, coverage.chunks, signal);
    writing ??= write();
    const report = await writing;
    const { backends, waiting, segmenting } = mapped;
    return { backends, report, milliseconds: { waiting, segmenting, outputs: clock.now() - ended } };
  } finally {
    signal?.removeEventListener("abort", cancel);
    // Nothing of this job may still run when the caller closes the source and the label store.
    stop.abort();
    await writing?.catch(() => undefined);
  }
}

/** @returns for each backend its report, once the seconds are known */
async function segmentMissingChunks(
  options: RunJobOptions,
  labelStore: StreamingLabelStore,
  signal: AbortSignal,
): Promise<((seconds: number) => BackendReport)[]> {
  const { plan, coverage, backends } = options;
  const chunks = chunkGrid(plan.region.size, plan.chunk);
  const isPresent = (chunk: number) => options.labelStore.has(chunkIndex(chunks, chunk));
  const startReports = backends.map(startReport);
  try {
    const counts = await mapAndMerge({
      source: options.source,
      model: options.model,
      plan,
      backends,
      finished: new Set([...coverage.chunks].filter(isPresent)),
      writeChunk: (chunk) => labelStore.writeChunk(chunk, { signal }),
      batchSize: options.batchSize,
      signal,
      clock: options.clock,
      statistics: options.statistics,
      onProgress: options.onProgress,
      onDisabled: options.onDisabled,
    });
    const missing = [...coverage.chunks].find((chunk) => !isPresent(chunk));
    if (missing !== undefined)
      throw new JobError(`chunk ${missing} of the label map is missing: continue with --resume`);
    return counts.map((count, n) => (seconds) => startReports[n]!(count, seconds));
  } catch (error) {
    labelStore.end(error);
    throw error;
  } finally {
    await options.onMapped();
  }
}

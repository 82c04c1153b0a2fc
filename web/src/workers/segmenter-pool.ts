import type { Kernels } from "../../../src/inference/engine/engine.ts";
import { EnginePool, type EngineWorker, idlest } from "../../../src/inference/engine/engine-pool.ts";
import { describeEngine } from "../../../src/inference/engine/engine-segmenter.ts";
import { fetchKernels } from "../../../src/inference/engine/fetch-kernels.ts";
import { openVerified } from "../../../src/inference/engine/open-engine.ts";
import { PlanError } from "../../../src/inference/engine/plan-error.ts";
import { planModel } from "../../../src/inference/engine/window-runner.ts";
import type { SegmentBatchOptions, Segmenter, SegmenterInfo } from "../../../src/inference/segmenter.ts";
import type { ModelPackage } from "../../../src/model-package/load-package.ts";
import type { Raster, SampleArray } from "../../../src/tiling/grid/raster.ts";
import { InferenceClient } from "./inference-client.ts";

/**
 * The model in several workers, with the runtime that `--backend wasm` would choose: the engine, or onnxruntime-web for
 * networks that the engine cannot run. `info.runtime` says which.
 */
export async function openInWorkers(model: ModelPackage, threads: number): Promise<Segmenter> {
  try {
    const builds = await fetchKernels();
    const { segmenter } = await openVerified(model, builds, (kernels) => openEngine(model, kernels, threads));
    return segmenter;
  } catch (error) {
    if (!(error instanceof PlanError)) throw error;
    return RuntimePool.create(model, threads);
  }
}

/** Workers of which each has answered to `open`. */
async function startWorkers<T>(
  threads: number,
  open: (worker: InferenceClient) => Promise<T>,
): Promise<{ workers: InferenceClient[]; first: T }> {
  const workers = Array.from({ length: threads }, () => new InferenceClient());
  try {
    const [first] = await Promise.all(workers.map(open));
    return { workers, first: first! };
  } catch (error) {
    for (const worker of workers) worker.close();
    throw error;
  }
}

/** @throws {PlanError} if the engine does not have what the network asks for */
async function openEngine(model: ModelPackage, kernels: Kernels, threads: number): Promise<EnginePool> {
  const planned = planModel(model);
  const { workers, first } = await startWorkers(threads, (worker) =>
    worker.ask<"engine">({ kind: "engine", model: planned, kernels }),
  );
  return new EnginePool(workers.map(engineWorker), describeEngine(model, first.arithmetic, threads));
}

function engineWorker(client: InferenceClient): EngineWorker {
  return {
    get queued() {
      return client.queued;
    },
    async run(request, signal) {
      const result = await client.ask<"window">({ kind: "window", ...request }, [
        request.pixels.buffer as ArrayBuffer,
      ]);
      signal?.throwIfAborted();
      return result;
    },
    close: () => client.close(),
  };
}

/** onnxruntime-web, one batch at a time in each worker: the same bytes as in one. */
class RuntimePool implements Segmenter {
  readonly info: SegmenterInfo;
  runMilliseconds = 0;
  readonly #workers: readonly InferenceClient[];

  private constructor(workers: readonly InferenceClient[], info: SegmenterInfo) {
    this.#workers = workers;
    this.info = { ...info, threads: workers.length };
  }

  static async create(model: ModelPackage, threads: number): Promise<RuntimePool> {
    const { workers, first } = await startWorkers(threads, (worker) =>
      worker.ask<"runtime">({ kind: "runtime", model }),
    );
    return new RuntimePool(workers, first.info);
  }

  async segment(
    batch: Raster<SampleArray>,
    { signal, ...options }: SegmentBatchOptions,
  ): Promise<Raster<Float32Array>> {
    signal?.throwIfAborted();
    const { output, milliseconds } = await idlest(this.#workers).ask<"batch">({
      kind: "batch",
      batch,
      options,
    });
    signal?.throwIfAborted();
    this.runMilliseconds += milliseconds;
    return output;
  }

  async close(): Promise<void> {
    for (const worker of this.#workers) worker.close();
  }
}

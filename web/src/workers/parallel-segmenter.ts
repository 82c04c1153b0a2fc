import { InferenceError } from "../../../src/inference/errors.ts";
import type { SegmentBatchOptions, Segmenter, SegmenterInfo } from "../../../src/inference/segmenter.ts";
import type { ModelPackage } from "../../../src/model-package/load-package.ts";
import type { Raster, SampleArray } from "../../../src/tiling/grid/raster.ts";
import type { InferenceRequest, InferenceResponse } from "../data/inference-messages.ts";

type Unsent = InferenceRequest extends infer R ? (R extends { id: number } ? Omit<R, "id"> : never) : never;
type Answered = Extract<InferenceResponse, { ok: true }>;

/** A worker with the model in it. */
class InferenceWorker {
  readonly #worker = new Worker(new URL("./inference-worker.ts", import.meta.url), { type: "module" });
  readonly #pending = new Map<number, { resolve(value: Answered): void; reject(error: Error): void }>();
  #next = 0;
  load = 0;
  runMilliseconds = 0;

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<InferenceResponse>) => {
      const call = this.#pending.get(data.id);
      this.#pending.delete(data.id);
      if (!data.ok) return call?.reject(new InferenceError(data.message));
      this.runMilliseconds = data.runMilliseconds;
      call?.resolve(data);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      for (const call of this.#pending.values())
        call.reject(
          new InferenceError(`the model cannot run here: ${event.message || "its worker stopped"}`),
        );
      this.#pending.clear();
    };
  }

  async ask(request: Unsent, transfer: Transferable[] = []): Promise<Answered> {
    const id = this.#next++;
    this.load++;
    try {
      return await new Promise((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        this.#worker.postMessage({ ...request, id } as InferenceRequest, { transfer });
      });
    } finally {
      this.load--;
    }
  }

  close(): void {
    this.#worker.terminate();
  }
}

/** The model in several workers, one window of the network at a time in each: the same bytes as in one. */
export class ParallelSegmenter implements Segmenter {
  readonly info: SegmenterInfo;
  readonly #workers: readonly InferenceWorker[];

  private constructor(workers: readonly InferenceWorker[], info: SegmenterInfo) {
    this.#workers = workers;
    this.info = { ...info, threads: workers.length };
  }

  static async create(model: ModelPackage, threads: number): Promise<ParallelSegmenter> {
    const workers = Array.from({ length: threads }, () => new InferenceWorker());
    try {
      const [first] = await Promise.all(workers.map((worker) => worker.ask({ kind: "open", model })));
      return new ParallelSegmenter(workers, first!.info!);
    } catch (error) {
      for (const worker of workers) worker.close();
      throw error;
    }
  }

  get runMilliseconds(): number {
    return this.#workers.reduce((sum, worker) => sum + worker.runMilliseconds, 0);
  }

  async segment(
    batch: Raster<SampleArray>,
    { signal, ...options }: SegmentBatchOptions,
  ): Promise<Raster<Float32Array>> {
    signal?.throwIfAborted();
    const worker = this.#workers.reduce((a, b) => (b.load < a.load ? b : a));
    const { output } = await worker.ask({ kind: "segment", batch, options });
    signal?.throwIfAborted();
    return output!;
  }

  async close(): Promise<void> {
    for (const worker of this.#workers) worker.close();
  }
}

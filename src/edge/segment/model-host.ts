import { InferenceError } from "../../inference/errors.ts";
import { checkGoldenTile } from "../../inference/golden-tile.ts";
import { OrtWebSegmenter } from "../../inference/wasm/ort-web.ts";
import { loadPackage } from "../../model-package/load-package.ts";
import type { ProvenModel } from "../../service/describe-model.ts";
import { Problem } from "../../service/problem.ts";
import { R2Store } from "../../storage/r2-store.ts";
import { Leases } from "./expiring-semaphore.ts";
import type { Settings } from "./settings.ts";

/** A model that has passed its golden tile in this isolate. */
export interface HostedModel extends ProvenModel {
  segmenter: OrtWebSegmenter;
}

/** Longer than a load takes, and than a Worker may compute by default. */
const LOAD_MAX_AGE_MS = 60_000;
const POLL_MS = 100;
/** A runtime that could not take the model once is not asked again at once: every try costs seconds of CPU. */
const FAILURE_KEPT_MS = 10_000;

/**
 * The model of an isolate. It keeps the value and no promise: a promise belongs to the request that made it and never
 * settles when that one is cut off, so other requests look again instead of waiting for it.
 */
export class ModelHost {
  readonly #wasmModule: WebAssembly.Module;
  readonly #loads = new Leases(1, LOAD_MAX_AGE_MS);
  #hosted: HostedModel | undefined;
  #failure: { error: InferenceError; atMs: number } | undefined;

  constructor(wasmModule: WebAssembly.Module) {
    this.#wasmModule = wasmModule;
  }

  /** Size of the heap in bytes; undefined before the first model. */
  get heapBytes(): number | undefined {
    return this.#hosted?.segmenter.heapBytes;
  }

  /** The model; loaded, hash-checked and proven first if it is not yet. A load that failed is tried again later. */
  async model(settings: Settings): Promise<HostedModel> {
    const deadline = Date.now() + LOAD_MAX_AGE_MS;
    while (!this.#hosted) {
      if (this.#failure && Date.now() - this.#failure.atMs < FAILURE_KEPT_MS) throw this.#failure.error;
      const done = this.#loads.take(Date.now());
      if (done) {
        try {
          this.#hosted = await load(settings, this.#wasmModule);
        } catch (error) {
          if (error instanceof InferenceError) this.#failure = { error, atMs: Date.now() };
          throw error;
        } finally {
          done();
        }
      } else if (Date.now() > deadline) {
        throw new Problem(503, "model_loading", "the model is still being loaded; try again later", {
          "Retry-After": "5",
        });
      } else await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return this.#hosted;
  }
}

async function load(settings: Settings, wasmModule: WebAssembly.Module): Promise<HostedModel> {
  const { bucket, model: name, variant, heapCapBytes } = settings;
  const model = await loadPackage(new R2Store(bucket), `${name}/`, name, { variant });
  const segmenter = await OrtWebSegmenter.create(model, { wasmModule, maxHeapBytes: heapCapBytes });
  try {
    const { maxAbs, meanAbs } = await checkGoldenTile(segmenter, model);
    return { manifest: model.manifest, hash: model.hash, segmenter, golden: { maxAbs, meanAbs } };
  } catch (error) {
    // What is wrong is told by the error, not by what cleaning up after it may add.
    await segmenter.close().catch(() => {});
    throw error;
  }
}

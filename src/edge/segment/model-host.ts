import { InferenceError } from "../../inference/errors.ts";
import { checkGoldenTile } from "../../inference/golden-tile.ts";
import { OrtWebSegmenter } from "../../inference/wasm/ort-web.ts";
import { loadPackage } from "../../model-package/load-package.ts";
import type { VerifiedModel } from "../../service/describe-model.ts";
import { HttpError } from "../../service/http-error.ts";
import { R2Store } from "../../storage/r2-store.ts";
import { ExpiringSemaphore } from "./expiring-semaphore.ts";
import type { Settings } from "./settings.ts";

/** A model that has passed its golden tile in this isolate. */
export interface LoadedModel extends VerifiedModel {
  segmenter: OrtWebSegmenter;
}

/** Longer than a load takes, and longer than a Worker may compute by default. */
const LOAD_MAX_AGE_MS = 60_000;
const POLL_MS = 100;
/** Time until a failed load is tried again: every attempt costs seconds of CPU. */
const FAILURE_CACHE_MS = 10_000;

/**
 * The model of an isolate. It caches the value, not a promise: a promise belongs to the request that created it and never
 * settles when that request is cut off. Other requests poll instead.
 */
export class ModelHost {
  readonly #wasmModule: WebAssembly.Module;
  readonly #loads = new ExpiringSemaphore(1, LOAD_MAX_AGE_MS);
  #loaded: LoadedModel | undefined;
  #failure: { error: InferenceError; atMs: number } | undefined;

  constructor(wasmModule: WebAssembly.Module) {
    this.#wasmModule = wasmModule;
  }

  /** Size of the heap in bytes; undefined before the first model. */
  get heapBytes(): number | undefined {
    return this.#loaded?.segmenter.heapBytes;
  }

  /** The model; loaded, hash-checked and verified on first use. A failed load is tried again later. */
  async model(settings: Settings): Promise<LoadedModel> {
    const deadline = Date.now() + LOAD_MAX_AGE_MS;
    while (!this.#loaded) {
      if (this.#failure && Date.now() - this.#failure.atMs < FAILURE_CACHE_MS) throw this.#failure.error;
      const release = this.#loads.tryAcquire(Date.now());
      if (release) {
        try {
          this.#loaded = await load(settings, this.#wasmModule);
        } catch (error) {
          if (error instanceof InferenceError) this.#failure = { error, atMs: Date.now() };
          throw error;
        } finally {
          release();
        }
      } else if (Date.now() > deadline) {
        throw new HttpError(503, "model_loading", "the model is still being loaded; try again later", {
          "Retry-After": "5",
        });
      } else await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return this.#loaded;
  }
}

async function load(settings: Settings, wasmModule: WebAssembly.Module): Promise<LoadedModel> {
  const { bucket, model: name, variant, heapCapBytes } = settings;
  const model = await loadPackage(new R2Store(bucket), `${name}/`, name, { variant });
  const segmenter = await OrtWebSegmenter.create(model, { wasmModule, maxHeapBytes: heapCapBytes });
  try {
    const { maxAbs, meanAbs } = await checkGoldenTile(segmenter, model);
    return { manifest: model.manifest, hash: model.hash, segmenter, golden: { maxAbs, meanAbs } };
  } catch (error) {
    // Report this error, not one of the cleanup.
    await segmenter.close().catch(() => {});
    throw error;
  }
}

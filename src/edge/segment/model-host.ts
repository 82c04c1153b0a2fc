import { InferenceError } from "../../inference/errors.ts";
import type { Segmenter } from "../../inference/segmenter.ts";
import { loadPackage, type ModelPackage } from "../../model-package/load-package.ts";
import type { VerifiedModel } from "../../service/describe-model.ts";
import { HttpError } from "../../service/http-error.ts";
import { R2Store } from "../../storage/r2-store.ts";
import { ExpiringSemaphore } from "./expiring-semaphore.ts";
import type { Settings } from "./settings.ts";

/** A segmenter of this isolate. */
export interface HostedSegmenter extends Segmenter {
  /** Time inside the network so far. */
  readonly runMilliseconds: number;
  /** Size of its linear memory in bytes, if it is limited. */
  readonly heapBytes: number | undefined;
}

/** A model that has passed its golden tile in this isolate. */
export interface LoadedModel extends VerifiedModel {
  segmenter: HostedSegmenter;
}

/** Opens a model and runs its golden tile. @throws {InferenceError} if it cannot run here */
export type OpenModel = (
  model: ModelPackage,
  heapCapBytes: number,
) => Promise<{ segmenter: HostedSegmenter; golden: { maxAbs: number; meanAbs: number } }>;

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
  readonly #open: OpenModel;
  readonly #loads = new ExpiringSemaphore(1, LOAD_MAX_AGE_MS);
  #loaded: LoadedModel | undefined;
  #failure: { error: InferenceError; atMs: number } | undefined;

  constructor(open: OpenModel) {
    this.#open = open;
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
          this.#loaded = await load(settings, this.#open);
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

async function load(settings: Settings, open: OpenModel): Promise<LoadedModel> {
  const { bucket, model: name, variant, heapCapBytes } = settings;
  const model = await loadPackage(new R2Store(bucket), `${name}/`, name, { variant });
  return { manifest: model.manifest, hash: model.hash, ...(await open(model, heapCapBytes)) };
}

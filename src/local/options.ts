import { NATIVE_RUNTIME_MISSING } from "../inference/node/native-runtime.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import type { Backend } from "../orchestrator/scheduler/backend.ts";
import type { ProgressListener } from "../portable/progress.ts";
import { parseRunOptions, type ResultOptions, type RunOptions } from "../portable/run-options.ts";
import { defaultBackend, isDevice, openBackends, parseBackend } from "./backends.ts";
import { loadModel } from "./resolve-model.ts";

/** Options that every scan of a cohort shares. They can be stored as JSON, apart from the signal and the listener. */
export interface SharedSegmentOptions extends ResultOptions {
  /** A bundled model's name or a package directory. */
  model: string;
  variant?: string;
  /** Path or address of what to segment: an image at any resolution, or polygons (GeoJSON). */
  mask?: string;
  /** One or more of "cpu" (the default where onnxruntime-node is installed), "cuda", "webgpu", "wasm", "edge:<url>", "runner:<url>". */
  backends?: readonly string[];
  /** For edge functions and runners; default TILEWRIGHT_TOKEN of the environment. */
  token?: string;
  /** Computes the same bytes as a service's edge functions: in WebAssembly, with their variant. */
  likeService?: boolean;
  resume?: boolean;
  force?: boolean;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

/** Options of one scan, by its path or address. */
export interface SlideOptions extends SharedSegmentOptions {
  /** Path, `file://`, `http(s)://` or `s3://bucket/key`. */
  source: string;
}

/** Validates the options of a run, or those that the runs of a cohort share. @throws {JobError} */
export function parseSegmentOptions(
  options: ResultOptions & { backends?: readonly string[] },
): RunOptions & { backendNames: readonly string[] } {
  const backendNames = options.backends?.length ? options.backends : [defaultBackend()];
  const parsed = parseRunOptions(options);
  for (const name of backendNames) parseBackend(name);
  return { ...parsed, backendNames };
}

/** Loads the model, with its half-precision companion if a backend is a GPU of this machine. */
export function loadSegmentModel(options: SharedSegmentOptions): Promise<ModelPackage> {
  const { backendNames } = parseSegmentOptions(options);
  const { variant, signal } = options;
  return loadModel(options.model, { variant, half: backendNames.some(isDevice), signal });
}

export function openSegmentBackends(
  options: Omit<SharedSegmentOptions, "model" | "mask">,
  model: ModelPackage,
): Promise<Backend[]> {
  const { backendNames, threads, batchSize, settings } = parseSegmentOptions(options);
  if (!options.backends?.length && backendNames[0] !== "cpu")
    options.onProgress?.({ type: "backend", backend: "cpu", reason: NATIVE_RUNTIME_MISSING });
  return openBackends(backendNames, model, {
    threads,
    batchSize,
    precision: settings.precision,
    token: options.token,
    signal: options.signal,
    onRefused: (backend, reason) => options.onProgress?.({ type: "backend", backend, reason }),
  });
}

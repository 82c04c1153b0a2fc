import { z } from "zod";
import type { PagesAs } from "../image/image-source.ts";
import { SEGMENTATION_TYPES, type SegmentationType } from "../image/output-targets.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import { JobError } from "../orchestrator/errors.ts";
import { parseOutputs } from "../orchestrator/run/choose-outputs.ts";
import type { Backend } from "../orchestrator/scheduler/backend.ts";
import { checkSettings, type FullJobSettings, type JobSettings } from "../orchestrator/settings.ts";
import { isDevice, openBackends, parseBackend } from "./backends.ts";
import type { ProgressListener } from "./progress.ts";
import { edgeVariant, loadModel } from "./resolve-model.ts";

export interface SegmentOptions extends JobSettings {
  /** Path, `file://`, `http(s)://` or `s3://bucket/key`. */
  source: string;
  /** A bundled model's name or a package directory. */
  model: string;
  variant?: string;
  /** Directory for the results; created if missing. */
  out: string;
  /** Micrometres per pixel of level 0; overrides the file. */
  mpp?: number;
  /** Number of the DICOM series, where the source holds several. */
  series?: number;
  /** Number of the volume, counted from 1, where a NIfTI file holds a series of them. */
  time?: number;
  /** Meaning of the pages of a TIFF stack, where the file does not state it. */
  pagesAs?: PagesAs;
  /** Image that spans the whole slide at any resolution; pixels above 0 are segmented. */
  mask?: string;
  outputs?: readonly string[];
  /** Encoding of `labels.seg.dcm`; default binary. */
  segType?: SegmentationType;
  /** Threads of the model; default all cores. */
  threads?: number;
  /** One or more of "cpu" (the default), "cuda", "webgpu", "wasm", "edge:<url>", "runner:<url>". */
  backends?: readonly string[];
  /** For edge functions and runners; default TILEWRIGHT_TOKEN of the environment. */
  token?: string;
  /** Windows per run of the model. */
  batchSize?: number;
  /** Computes the same bytes as a service's edge functions: in WebAssembly, with their variant. */
  likeService?: boolean;
  resume?: boolean;
  force?: boolean;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

/** Options that the runs of a cohort share. */
export type SharedSegmentOptions = Omit<SegmentOptions, "source" | "out">;

/** Threads compute other batches at the same time, so larger ones would only take memory. */
const BATCH_SIZE = 1;

const machineOptions = z.object({
  mpp: z.number().positive().optional(),
  concurrency: z.int().min(1).max(1024).optional(),
  batchSize: z.int().min(1).max(1024).default(BATCH_SIZE),
  segType: z.enum(SEGMENTATION_TYPES).optional(),
});

/** Validates the options of a run, or those that the runs of a cohort share. @throws {JobError} */
export function parseSegmentOptions(options: SharedSegmentOptions) {
  const settings = parseJobSettings(options);
  const machine = machineOptions.safeParse(options);
  if (!machine.success) {
    const { path, message } = machine.error.issues[0]!;
    throw new JobError(`option ${path.join(".")}: ${message}`);
  }
  const backendNames = options.backends?.length ? options.backends : ["cpu"];
  for (const name of backendNames) parseBackend(name);
  return {
    settings,
    ...machine.data,
    backendNames,
    outputs: options.outputs && parseOutputs(options.outputs),
  };
}

/** Validates the job settings among the options. @throws {JobError} */
export function parseJobSettings(options: JobSettings): FullJobSettings {
  const { level, maxMagnification, roi, overlapRatio } = options;
  const { policy, importance, precision, tissueMask, channels, orientation, overlay } = options;
  return checkSettings({
    ...{ level, maxMagnification, roi, overlapRatio },
    ...{ policy, importance, precision, tissueMask, channels, orientation, overlay },
  });
}

/**
 * Replaces `likeService` by the backend and the variant that it stands for. @throws {JobError} if either is given
 * too
 */
export async function resolveLikeService<T extends SharedSegmentOptions>(options: T): Promise<T> {
  const { likeService, backends, variant, model, signal } = options;
  if (!likeService) return options;
  if (backends?.length || variant !== undefined) {
    throw new JobError("--like-service chooses backend and variant: leave out --backend and --variant");
  }
  const { manifest } = await loadModel(model, { signal });
  return { ...options, backends: ["wasm"], variant: edgeVariant(manifest) };
}

/** Loads the model, with its half-precision companion if a backend is a GPU of this machine. */
export function loadSegmentModel(options: SharedSegmentOptions): Promise<ModelPackage> {
  const { backendNames } = parseSegmentOptions(options);
  const { variant, signal } = options;
  return loadModel(options.model, { variant, half: backendNames.some(isDevice), signal });
}

export function openSegmentBackends(options: SharedSegmentOptions, model: ModelPackage): Promise<Backend[]> {
  const { backendNames, concurrency, batchSize, settings } = parseSegmentOptions(options);
  return openBackends(backendNames, model, {
    threads: concurrency,
    batchSize,
    precision: settings.precision,
    token: options.token,
    signal: options.signal,
    onRefused: (backend, reason) => options.onProgress?.({ type: "backend", backend, reason }),
  });
}

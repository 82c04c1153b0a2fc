import { JobError } from "../orchestrator/errors.ts";
import type { RunManifest } from "../orchestrator/manifest/run-manifest.ts";
import type { Backend } from "../orchestrator/scheduler/backend.ts";
import { loadModelInput } from "../portable/model-input.ts";
import { openSourceInput } from "../portable/open-source.ts";
import { readMaskInput } from "../portable/read-mask.ts";
import { runImage } from "../portable/run-image.ts";
import { checkOptionNames } from "../portable/run-options.ts";
import {
  type MemoryRun,
  SEGMENT_OPTION_NAMES,
  type SegmentedImage,
  type SegmentInputs,
  type StoredOutput,
  segmentToArrays,
  segmentToStore,
} from "../portable/segment-image.ts";
import { toBackend } from "../portable/to-backend.ts";
import { openAddress } from "../storage/open-address.ts";
import { isDevice } from "./backends.ts";
import { DirectoryWorkspace } from "./directory-workspace.ts";
import { openSegmentBackends, parseSegmentOptions, type SharedSegmentOptions } from "./options.ts";
import { peakMemoryBytes } from "./peak-memory.ts";
import { readMask } from "./read-mask.ts";
import { edgeVariant, loadModel } from "./resolve-model.ts";
import { RunDirectory } from "./run-directory.ts";

/** Options of every segmentation on this machine. */
interface MachineOptions
  extends SegmentInputs,
    Pick<SharedSegmentOptions, "backends" | "token" | "likeService"> {}

/** Options of a segmentation whose outputs are files. */
export interface SegmentOptions extends MachineOptions {
  /** Directory for the results, created if missing; or a place in a store. */
  out: string | StoredOutput;
  /** Continue an interrupted run; for a directory. */
  resume?: boolean;
  /** Replace a finished run or drop unfinished work; for a directory. */
  force?: boolean;
}

/** Options of a segmentation that returns arrays. Without `outputs` it writes no files at all. */
export interface SegmentToArraysOptions extends MachineOptions {
  out?: undefined;
}

const OPTION_NAMES = [...SEGMENT_OPTION_NAMES, "backends", "token", "likeService", "resume", "force"];

/**
 * Segments one image on this machine. With `out` the outputs go to a directory or a store, and the run manifest is
 * returned once every one has its final name; without `out` labels and objects are returned.
 * @throws {TilewrightError} whose message is one sentence; the signal's reason
 */
export function segment(options: SegmentOptions): Promise<RunManifest>;
export function segment(options: SegmentToArraysOptions): Promise<SegmentedImage>;
export async function segment(
  requested: SegmentOptions | SegmentToArraysOptions,
): Promise<RunManifest | SegmentedImage> {
  checkOptionNames(requested, OPTION_NAMES);
  const { out } = requested;
  if (typeof out === "string") RunDirectory.check(out, requested as SegmentOptions);
  else checkMemoryOptions(requested);
  const options = await resolveServiceLikeness(requested);
  const { mask, segmenter, signal, onProgress } = options;
  const parsed = parseSegmentOptions(options);
  onProgress?.({ type: "stage", stage: "opening" });
  const half = parsed.backendNames.some(isDevice);
  const model = await loadModelInput(options.model, loadModel, { variant: options.variant, half, signal });
  let backends: readonly Backend[] = [];
  const release = () => Promise.all(backends.map((backend) => backend.segmenter.close()));
  const run: MemoryRun = {
    options: parsed,
    model,
    open: () => openSourceInput(options.source, openAddress, options),
    readMask: (shape) =>
      mask === undefined
        ? undefined
        : typeof mask === "string"
          ? readMask(mask, shape, signal)
          : readMaskInput(mask, shape, openAddress, signal),
    // Before anything is written: a backend that cannot run the model leaves nothing behind.
    async backends() {
      if (segmenter) return [await toBackend(segmenter, model, parsed, signal)];
      backends = await openSegmentBackends(options, model);
      return backends;
    },
    async whileMapping(map) {
      const mapped = await map();
      // Not at the end: this frees the sessions' memory for the outputs.
      await release();
      return mapped;
    },
    peakMemoryBytes,
    signal,
    onProgress,
  };
  try {
    if (out === undefined) return await segmentToArrays(run);
    if (typeof out !== "string") return await segmentToStore(run, out);
    const flags = options as SegmentOptions;
    const openWorkspace = async (job: string) => DirectoryWorkspace.open(out, job, flags);
    return (await runImage({ ...run, openWorkspace })).manifest;
  } finally {
    await release();
  }
}

function checkMemoryOptions(options: SegmentOptions | SegmentToArraysOptions): void {
  const { out, resume, force } = options as Partial<SegmentOptions>;
  if (resume || force)
    throw new JobError("options resume and force are for results in a directory: name it as out");
  if (out !== undefined && typeof (out as StoredOutput | null)?.store?.put !== "function")
    throw new JobError("option out is none of these: a directory, or { store, prefix }");
}

/** Replaces `likeService` by the backend and the variant that it stands for. @throws {JobError} if either is given too */
async function resolveServiceLikeness<T extends MachineOptions>(options: T): Promise<T> {
  const { likeService, backends, variant, model, segmenter, signal } = options;
  if (!likeService) {
    if (segmenter && backends?.length)
      throw new JobError("options segmenter and backends both say what runs the model: leave out one");
    return options;
  }
  if (backends?.length || variant !== undefined || segmenter) {
    throw new JobError("--like-service chooses backend and variant: leave out --backend and --variant");
  }
  const { manifest } = await loadModelInput(model, loadModel, { signal });
  return { ...options, backends: ["wasm"], variant: edgeVariant(manifest) };
}

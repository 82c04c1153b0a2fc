import type { ImageReport } from "../image/describe.ts";
import type { ImageSource } from "../image/image-source.ts";
import type { Segmenter } from "../inference/segmenter.ts";
import { openInWeb } from "../inference/wasm/open-in-web.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import { JobError } from "../orchestrator/errors.ts";
import type { RunManifest } from "../orchestrator/manifest/run-manifest.ts";
import { HttpStore } from "../storage/http-store.ts";
import type { OpenedAddress } from "../storage/opened-address.ts";
import { withRetry } from "../storage/retry.ts";
import { parseSourceAddress } from "../storage/source-address.ts";
import type { PlanReport } from "./describe-plan.ts";
import { loadModelInput, type ModelChoices, type ModelInput } from "./model-input.ts";
import { openSourceInput, type SourceChoices, type SourceInput } from "./open-source.ts";
import {
  type InspectImageOptions,
  inspectImage,
  type ModelMatch,
  type Openers,
  type PlanImageOptions,
  planImage,
} from "./plan-image.ts";
import { readMaskInput } from "./read-mask.ts";
import { runImage } from "./run-image.ts";
import { checkOptionNames, parseRunOptions } from "./run-options.ts";
import {
  type MemoryRun,
  SEGMENT_OPTION_NAMES,
  type SegmentedImage,
  type SegmentInputs,
  type StoredOutput,
  segmentToArrays,
  segmentToStore,
} from "./segment-image.ts";
import { toBackend } from "./to-backend.ts";
import type { Workspace } from "./workspace.ts";

/** A browser or a Worker: web addresses, no disk, and no bundled models. */
const WEB: Openers = {
  async openAddress(address): Promise<OpenedAddress> {
    const parsed = parseSourceAddress(address);
    if (parsed.scheme !== "http") {
      throw new JobError(
        `${address} cannot be opened here, where only https:// addresses can: give a Blob, a Uint8Array or an object of a store`,
      );
    }
    const store = withRetry(new HttpStore(parsed.base, { search: parsed.search }));
    return { store, key: parsed.key, name: parsed.key, close: async () => {} };
  },
  async loadModel(name) {
    throw new JobError(
      `the model ${name} cannot be found here, where none is bundled: give the address of its package, or { store, prefix }`,
    );
  },
};

export interface WebSegmentOptions extends SegmentInputs {
  out: StoredOutput;
}
export interface WebSegmentToArraysOptions extends SegmentInputs {
  out?: undefined;
}

/**
 * Segments an image in a browser or a Worker. Without `out` it returns arrays; with it the outputs go to a store. The
 * model runs in WebAssembly and blocks the calling thread: in a page, call it from a Web Worker.
 */
export function segmentInWeb(options: WebSegmentOptions): Promise<RunManifest>;
export function segmentInWeb(options: WebSegmentToArraysOptions): Promise<SegmentedImage>;
export function segmentInWeb(
  options: WebSegmentOptions | WebSegmentToArraysOptions,
): Promise<RunManifest | SegmentedImage> {
  const { out } = options;
  return runInWeb<RunManifest | SegmentedImage>(options, (run) =>
    out === undefined ? segmentToArrays(run) : segmentToStore(run, out),
  );
}

/** As `segmentInWeb`, with the work and the outputs in a place of the caller's. */
export function segmentInWorkspace(
  options: WebSegmentToArraysOptions,
  workspace: Workspace,
): Promise<RunManifest> {
  return runInWeb(options, async (run) => {
    const { manifest } = await runImage({ ...run, openWorkspace: async () => workspace });
    return manifest;
  });
}

async function runInWeb<T>(
  options: WebSegmentOptions | WebSegmentToArraysOptions,
  segment: (run: MemoryRun) => Promise<T>,
): Promise<T> {
  checkOptionNames(options, SEGMENT_OPTION_NAMES);
  const { source, mask, variant, segmenter, signal, onProgress } = options;
  const parsed = parseRunOptions(options);
  onProgress?.({ type: "stage", stage: "opening" });
  const model = await loadModelInput(options.model, WEB.loadModel, { variant, signal });
  let opened: Segmenter | undefined;
  try {
    return await segment({
      options: parsed,
      model,
      open: () => openSourceInput(source, WEB.openAddress, options),
      readMask: (shape) =>
        mask === undefined ? undefined : readMaskInput(mask, shape, WEB.openAddress, signal),
      async backends() {
        opened = segmenter === undefined ? await openInWeb(model) : undefined;
        return [await toBackend(opened ?? segmenter!, model, parsed, signal)];
      },
      whileMapping: (map) => map(),
      signal,
      onProgress,
    });
  } finally {
    await opened?.close();
  }
}

/** Plans a run: windows, tissue, memory. */
export function planInWeb(options: PlanImageOptions): Promise<PlanReport> {
  return planImage(options, WEB);
}

/** Tells what an image holds. */
export function inspectInWeb(
  options: InspectImageOptions,
): Promise<ImageReport & { name: string; model?: ModelMatch }> {
  return inspectImage(options, WEB);
}

/** Loads a model package once, to use it for several images. */
export function loadModelInWeb(model: ModelInput, choices: ModelChoices = {}): Promise<ModelPackage> {
  return loadModelInput(model, WEB.loadModel, choices);
}

/** Opens an image from an address, bytes or a store; the caller closes it. */
export async function openImageInWeb(
  source: SourceInput,
  choices: SourceChoices & { signal?: AbortSignal } = {},
): Promise<ImageSource> {
  checkOptionNames(choices, ["mpp", "series", "time", "pagesAs", "signal"]);
  return (await openSourceInput(source, WEB.openAddress, choices)).source;
}

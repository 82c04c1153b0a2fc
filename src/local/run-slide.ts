import type { ModelPackage } from "../model-package/load-package.ts";
import type { RunManifest } from "../orchestrator/manifest/run-manifest.ts";
import type { Backend } from "../orchestrator/scheduler/backend.ts";
import { runImage } from "../portable/run-image.ts";
import { DirectoryWorkspace } from "./directory-workspace.ts";
import { openSource } from "./open-source.ts";
import { parseSegmentOptions, type SlideOptions } from "./options.ts";
import { peakMemoryBytes } from "./peak-memory.ts";
import { readMask } from "./read-mask.ts";

/** The model and the backends of a slide. A cohort shares them between slides; their creator closes them. */
export interface SlideRuntime {
  model: ModelPackage;
  /** Called once the slide is open. */
  backends(): Promise<readonly Backend[]>;
  /** Directory for the results of a job. */
  outputDirectory(job: string): string;
  /** Delays the map until the backends are free. */
  whileMapping<T>(map: () => Promise<T>): Promise<T>;
  /** Distinguishes sources with the same etag, where results of several sources share a directory. */
  sourceOrigin?(source: string): string | undefined;
  /** Measure focus and brightness, for tables that compare slides. */
  measureQuality?: boolean;
}

export interface SlideResult {
  manifest: RunManifest;
  /** Whether the results of this job existed already. */
  found: boolean;
}

/** Segments one image with the given model and backends into a directory; `model` of the options is ignored. */
export async function runSlide(options: SlideOptions, runtime: SlideRuntime): Promise<SlideResult> {
  const { source, mask, signal, onProgress } = options;
  const parsed = parseSegmentOptions(options);
  const { manifest, labels } = await runImage({
    options: parsed,
    model: runtime.model,
    open: () => openSource(source, parsed.mpp, signal, options),
    readMask: (shape) => (mask ? readMask(mask, shape, signal) : undefined),
    backends: () => runtime.backends(),
    openWorkspace: async (job) => DirectoryWorkspace.open(runtime.outputDirectory(job), job, options),
    whileMapping: (map) => runtime.whileMapping(map),
    origin: runtime.sourceOrigin?.(source),
    measureQuality: runtime.measureQuality,
    peakMemoryBytes,
    signal,
    onProgress,
  });
  return { manifest, found: labels === undefined };
}

import type { RunManifest } from "../orchestrator/manifest/run-manifest.ts";
import type { Backend } from "../orchestrator/scheduler/backend.ts";
import {
  loadSegmentModel,
  openSegmentBackends,
  parseSegmentOptions,
  resolveLikeService,
  type SegmentOptions,
} from "./options.ts";
import { RunDirectory } from "./run-directory.ts";
import { runSlide } from "./run-slide.ts";

/** Segments one image on this machine. @returns the run manifest, once every output has its final name */
export async function segment(requested: SegmentOptions): Promise<RunManifest> {
  const options = await resolveLikeService(requested);
  parseSegmentOptions(options);
  RunDirectory.check(options.out, options);
  options.onProgress?.({ type: "stage", stage: "opening" });
  const model = await loadSegmentModel(options);
  let backends: readonly Backend[] = [];
  const release = () => Promise.all(backends.map((backend) => backend.segmenter.close()));
  try {
    const { manifest } = await runSlide(options, {
      model,
      // Before anything is written: a backend that cannot run the model leaves nothing behind.
      async backends() {
        backends = await openSegmentBackends(options, model);
        return backends;
      },
      outputDirectory: () => options.out,
      async whileMapping(map) {
        const mapped = await map();
        // Not at the end: this frees the sessions' memory for the outputs.
        await release();
        return mapped;
      },
    });
    return manifest;
  } finally {
    await release();
  }
}

import { join } from "node:path";
import {
  loadSegmentModel,
  openSegmentBackends,
  type SharedSegmentOptions,
  type SlideOptions,
} from "../../src/local/options.ts";
import { runSlide } from "../../src/local/run-slide.ts";
import type { RunManifest } from "../../src/orchestrator/manifest/run-manifest.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import type { SampleArray } from "../../src/tiling/grid/raster.ts";

/** Labels of `labels.ome.zarr` in an output directory. */
export async function readLabelZarr(out: string): Promise<{ data: SampleArray; shape: readonly number[] }> {
  const store = new FsStore(out);
  const image = await openImage(store, "labels.ome.zarr", { mpp: 1 });
  const { shape } = image.levels[0]!;
  const { data } = await image.readRegion(0, { origin: shape.map(() => 0), size: shape });
  await image.close();
  await store.close();
  return { data, shape };
}

/** Many runs with one model, which is loaded once. */
export async function openSharedRuntime(
  options: SharedSegmentOptions,
  directory: string,
): Promise<{
  run(source: string, more?: Partial<SlideOptions>): Promise<{ manifest: RunManifest; out: string }>;
  close(): Promise<void>;
}> {
  const model = await loadSegmentModel(options);
  const backends = await openSegmentBackends(options, model);
  let runs = 0;
  return {
    async run(source, more = {}) {
      const out = join(directory, `run-${runs++}`);
      const { manifest } = await runSlide(
        { ...options, ...more, source },
        {
          model,
          backends: async () => backends,
          outputDirectory: () => out,
          whileMapping: (map) => map(),
        },
      );
      return { manifest, out };
    },
    async close() {
      await Promise.all(backends.map(({ segmenter }) => segmenter.close()));
    },
  };
}

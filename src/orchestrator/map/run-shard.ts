import type { ImageSource } from "../../image/image-source.ts";
import type { Segmenter } from "../../inference/segmenter.ts";
import type { ModelManifest } from "../../model-package/manifest.ts";
import { mapConcurrent } from "../../storage/concurrency.ts";
import type { Shard } from "../../tiling/grid/shards.ts";
import type { MaskRecord } from "../../tiling/wire/mask-record.ts";
import { readShard, sliceBatch } from "../input/read-shard.ts";
import type { JobPlan } from "../job-plan.ts";
import { inferBatch } from "./infer-batch.ts";

/**
 * Segments one shard. Each request has one window; memory holds the shard's region, its records, and `together`
 * concurrent windows (default 1).
 * @returns the mask records in raster order of the windows
 */
export async function runShard(options: {
  source: ImageSource;
  manifest: ModelManifest;
  plan: JobPlan;
  shard: Shard;
  segmenter: Segmenter;
  together?: number;
  /** Awaited before each window. */
  beforeWindow?: () => Promise<void>;
  signal?: AbortSignal;
}): Promise<MaskRecord[]> {
  const { source, manifest, plan, shard, segmenter, together = 1, beforeWindow, signal } = options;
  const all = await readShard(source, plan, shard, signal);
  const records = await mapConcurrent(
    all.windows,
    together,
    async (_, n) => {
      await beforeWindow?.();
      return inferBatch(segmenter, plan, sliceBatch(all, n, n + 1), manifest, signal);
    },
    { signal },
  );
  return records.flat();
}

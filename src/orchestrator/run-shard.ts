import type { ImageSource } from "../image/image-source.ts";
import { scalingOf } from "../inference/scaling.ts";
import type { Segmenter } from "../inference/segmenter.ts";
import type { ModelManifest } from "../model-package/manifest.ts";
import type { MaskRecord } from "../tiling/mask-record.ts";
import type { Shard } from "../tiling/shards.ts";
import { readShard, segmentBatch, sliceBatch } from "./map-shards.ts";
import type { JobPlan } from "./plan-job.ts";

/**
 * The mask records of one shard, in raster order of its windows. One window a run: what is held is the shard's region
 * and its records.
 */
export async function runShard(options: {
  source: ImageSource;
  manifest: ModelManifest;
  plan: JobPlan;
  shard: Shard;
  segmenter: Segmenter;
  signal?: AbortSignal;
}): Promise<MaskRecord[]> {
  const { source, manifest, plan, shard, segmenter, signal } = options;
  const scaling = scalingOf(manifest, plan.scaling.low, plan.scaling.high);
  const records: MaskRecord[] = [];
  const all = await readShard(source, plan, shard, signal);
  for (let n = 0; n < all.windows.length; n++) {
    records.push(...(await segmentBatch(segmenter, plan, sliceBatch(all, n, n + 1), scaling, signal)));
  }
  return records;
}

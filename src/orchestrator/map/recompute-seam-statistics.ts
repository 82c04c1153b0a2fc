import type { LabelStore } from "../../image/label-sink.ts";
import { chunkGrid, chunkIndex, chunkRect } from "../../tiling/grid/chunk-grid.ts";
import { product, type Raster } from "../../tiling/grid/raster.ts";
import { countSeams, emptySeamCounts, type SeamCounts, seamLines } from "../../tiling/merge/seam-score.ts";
import type { JobPlan } from "../job-plan.ts";
import { partOfOutput } from "../plan/plan-coverage.ts";

/**
 * Counts the seams of all finished chunks from the label store: a killed attempt left chunks without counts.
 * @param chunks numbers of the chunks that windows cover
 */
export async function recomputeSeamStatistics(
  labelStore: LabelStore,
  plan: JobPlan,
  chunks: Iterable<number>,
  signal: AbortSignal | undefined,
): Promise<SeamCounts> {
  const grid = chunkGrid(plan.region.size, plan.chunk);
  const lines = seamLines(plan.grid);
  const counts = emptySeamCounts();
  for (const chunk of chunks) {
    const index = chunkIndex(grid, chunk);
    const rect = chunkRect(grid, index);
    const tile = await labelStore.readTile(index, { signal });
    const labels = cut(tile?.data, plan.chunk, rect.size);
    countSeams(...partOfOutput(plan, labels, rect), lines, counts);
  }
  return counts;
}

/** Cuts a chunk at the border of the map; absent chunks are background. */
function cut(
  data: Uint8Array | Uint32Array | undefined,
  whole: readonly number[],
  size: readonly number[],
): Raster<Uint8Array> {
  const out = new Uint8Array(product(size));
  if (data === undefined) return { data: out, shape: size };
  const width = size.at(-1)!;
  const rows = out.length / width;
  for (let row = 0; row < rows; row++) {
    let from = 0;
    let step = whole.at(-1)!;
    for (let axis = size.length - 2, rest = row; axis >= 0; axis--) {
      from += (rest % size[axis]!) * step;
      rest = Math.floor(rest / size[axis]!);
      step *= whole[axis]!;
    }
    out.set(data.subarray(from, from + width) as Uint8Array, row * width);
  }
  return { data: out, shape: size };
}

import { product } from "../../tiling/grid/raster.ts";
import type { Precision } from "../../tiling/wire/mask-record.ts";
import { JobError } from "../errors.ts";

/** Windows of a shard along the last two axes: enough to make the cost of messages and objects small. */
const BLOCK: readonly [number, number] = [4, 8];
/** Memory for a shard's pixels and records in an isolate of 128 MiB that also holds the model. */
const REGION_BYTES = 12 * 2 ** 20;
const RECORDS_BYTES = 6 * 2 ** 20;
/** Bytes of a sample as read. Larger samples are rare, and RECORDS_BYTES keeps their shards small. */
const SAMPLE_BYTES = 2;
const PRECISION_BYTES: Record<Precision, number> = { u8: 1, f16: 2, f32: 4 };

/**
 * The largest block of windows, found by halving, whose region and records fit into an edge function.
 * @throws {JobError} if not even one window fits
 */
export function edgeShardBlock(
  { window, channels }: { window: readonly number[]; channels: number },
  classes: number,
  precision: Precision,
): readonly [number, number] {
  let [rows, columns] = BLOCK;
  while (true) {
    const samples = rows * columns * product(window);
    const fits =
      samples * channels * SAMPLE_BYTES <= REGION_BYTES &&
      samples * classes * PRECISION_BYTES[precision] <= RECORDS_BYTES;
    if (fits) return [rows, columns];
    if (rows * columns === 1) {
      throw new JobError(
        `a window spans ${window.join("×")} pixels, too many for an edge function: choose a coarser level or check mpp`,
      );
    }
    if (columns > rows) columns /= 2;
    else rows /= 2;
  }
}

import type { JobPlan } from "../orchestrator/job-plan.ts";
import { product } from "../tiling/grid/raster.ts";
import { planWindowGrid } from "../tiling/grid/window-grid.ts";
import { WindowSet } from "../tiling/grid/window-set.ts";
import { decodeMessage, encodeMessage, WireFormatError } from "../tiling/wire/wire-message.ts";
import type { FullJobRequest } from "./job-request.ts";

/** The digit is that of the layout. */
const MAGIC = "TWJ2";

/** What a job is about: fixed before it is planned, and the same for whoever works on it. */
export interface JobDocument {
  id: string;
  tilewright: string;
  createdAt: string;
  /**
   * `uri` in its canonical form; `name` is the last part of it. Without `kind` it is one object; of a Zarr the etag is
   * that of its metadata and the size is not known, of a prefix both are of all objects below it.
   */
  source: { uri: string; name: string; etag: string; byteLength: number; kind?: "zarr" | "prefix" };
  model: { name: string; version: string; variant: string; hash: string; license: string };
  request: FullJobRequest;
}

/** A job and its plan, as they lie in storage for those who work on it. */
export interface PlannedJob {
  job: JobDocument;
  plan: JobPlan;
}

/** The window starts are left out where they follow from what the grid was planned from: where it is that of a whole image. */
export function encodePlannedJob({ job, plan }: PlannedJob): Uint8Array<ArrayBuffer> {
  const { grid, kept, thumbnail, ...rest } = plan;
  const { shape, window, overlapRatio, policy, starts } = grid;
  const header = {
    job,
    plan: {
      ...rest,
      grid: { shape, window, overlapRatio, policy, ...(plan.output && { starts }) },
      kept: kept.length,
      thumbnail: thumbnail?.shape,
    },
  };
  return encodeMessage(MAGIC, header, thumbnail ? [kept.bits, thumbnail.data] : [kept.bits]);
}

/** @throws {WireFormatError} for anything that `encodePlannedJob` did not write */
export function decodePlannedJob(bytes: Uint8Array): PlannedJob {
  const { header, payload } = decodeMessage(MAGIC, bytes);
  const { job, plan: stored } = header as {
    job: JobDocument;
    plan: Omit<JobPlan, "kept" | "thumbnail"> & { kept: number; thumbnail?: number[] };
  };
  const grid = stored.output ? stored.grid : planWindowGrid(stored.grid);
  const keptBytes = Math.ceil(stored.kept / 8);
  const thumbnailBytes = stored.thumbnail ? product(stored.thumbnail) : 0;
  if (payload.length !== keptBytes + thumbnailBytes) {
    throw new WireFormatError(
      `the plan has ${payload.length} bytes after its header, expected ${keptBytes} + ${thumbnailBytes}`,
    );
  }
  const plan: JobPlan = {
    ...stored,
    grid,
    kept: new WindowSet(stored.kept, payload.slice(0, keptBytes)),
    thumbnail: stored.thumbnail && { data: payload.slice(keptBytes), shape: stored.thumbnail },
  };
  return { job, plan };
}

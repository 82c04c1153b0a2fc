import type { JobPlan } from "../orchestrator/job-plan.ts";
import { product } from "../tiling/grid/raster.ts";
import { planWindowGrid } from "../tiling/grid/window-grid.ts";
import { WindowSet } from "../tiling/grid/window-set.ts";
import { decodeMessage, encodeMessage, WireFormatError } from "../tiling/wire/wire-message.ts";
import type { FullJobRequest } from "./job-request.ts";

/** The digit is the version of the layout. */
const MAGIC = "TWJ2";

/** The input of a job. Fixed before planning. */
export interface JobDocument {
  id: string;
  tilewright: string;
  createdAt: string;
  /**
   * `uri` is canonical; `name` is its last part. Without `kind` the source is one object. The etag of a Zarr is
   * that of its metadata, and its size is unknown; etag and size of a prefix cover all objects below it.
   */
  source: { uri: string; name: string; etag: string; byteLength: number; kind?: "zarr" | "prefix" };
  model: { name: string; version: string; variant: string; hash: string; license: string };
  request: FullJobRequest;
}

/** A job and its plan, as stored for the workers. */
export interface PlannedJob {
  job: JobDocument;
  plan: JobPlan;
}

/** Window starts are left out where they follow from the other fields: for a grid over a whole image. */
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

/** @throws {WireFormatError} for bytes that `encodePlannedJob` did not write */
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

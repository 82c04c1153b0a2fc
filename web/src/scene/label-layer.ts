import type { Bounds } from "../data/camera.ts";
import type { ImageClient } from "../data/image-client.ts";
import type { LabelMap } from "../data/label-map.ts";
import type { RunningLabels } from "../data/running-labels.ts";
import type { TilePyramid } from "../data/tile-pyramid.ts";

/** Where a layer of labels comes from. */
export interface LabelLayerInput {
  pyramid: TilePyramid;
  /** Labels of a box of samples, row by row. */
  read(level: number, box: Bounds, slice: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  /** Tiles read at the same time. */
  concurrency: number;
  /** See `chooseShownLevel`; default 1. */
  slack?: number;
}

/** The label map of a finished run. */
export function finishedLayer({ axes, pyramid }: LabelMap, client: ImageClient): LabelLayerInput {
  return {
    pyramid,
    concurrency: client.concurrency,
    async read(level, box, slice, signal) {
      const region = sampleRegion(axes, box, slice);
      const { data } = await client.read({ level, ...region, form: "bytes" }, signal);
      return data as Uint8Array<ArrayBuffer>;
    },
  };
}

/** What has been merged of a running job. */
export function runningLayer({ pyramid }: LabelMap, running: RunningLabels): LabelLayerInput {
  const { concurrency, slack } = running;
  return { pyramid, concurrency, slack, read: (level, box) => running.read(level, box) };
}

/** A box of samples as a region; of a volume, in one slice. */
export function sampleRegion(axes: "yx" | "zyx", { x0, y0, x1, y1 }: Bounds, slice: number) {
  const isVolume = axes === "zyx";
  return {
    origin: isVolume ? [slice, y0, x0] : [y0, x0],
    size: isVolume ? [1, y1 - y0, x1 - x0] : [y1 - y0, x1 - x0],
  };
}

/** `tilewright/inference/remote`: an edge function or a runner over HTTP; Node only. */
export { checkGoldenTile } from "../inference/golden-tile.ts";
export { RemoteSegmenter } from "../inference/remote/remote-segmenter.ts";
export type { SegmentBatchOptions, Segmenter, SegmenterInfo } from "../inference/segmenter.ts";

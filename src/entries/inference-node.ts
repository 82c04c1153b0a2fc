/** `tilewright/inference/node`: onnxruntime-node on the CPU or a device; Node only. */
export { checkGoldenTile } from "../inference/golden-tile.ts";
export { openProvider } from "../inference/node/open-provider.ts";
export { type OrtNodeOptions, OrtNodeSegmenter } from "../inference/node/ort-node.ts";
export type { SegmentBatchOptions, Segmenter, SegmenterInfo } from "../inference/segmenter.ts";

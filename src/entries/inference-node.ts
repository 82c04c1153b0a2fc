/** `tilewright/inference/node`: onnxruntime-node on the CPU or a device, and WebAssembly in threads; Node only. */
export { checkGoldenTile } from "../inference/golden-tile.ts";
export { openProvider } from "../inference/node/open-provider.ts";
export { openWasm } from "../inference/node/open-wasm.ts";
export { type OrtNodeOptions, OrtNodeSegmenter } from "../inference/node/ort-node.ts";
export type { SegmentBatchOptions, Segmenter, SegmenterInfo } from "../inference/segmenter.ts";

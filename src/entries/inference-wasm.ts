/** `tilewright/inference/wasm`: the engine or onnxruntime-web on one WebAssembly thread, in every runtime. */
export type { Kernels } from "../inference/engine/engine.ts";
export { EngineSegmenter } from "../inference/engine/engine-segmenter.ts";
export { openEngine } from "../inference/engine/open-engine.ts";
export { PlanError } from "../inference/engine/plan-error.ts";
export { checkGoldenTile } from "../inference/golden-tile.ts";
export type { SegmentBatchOptions, Segmenter, SegmenterInfo } from "../inference/segmenter.ts";
export { openInWeb } from "../inference/wasm/open-in-web.ts";
export { OrtWebSegmenter } from "../inference/wasm/ort-web.ts";
export type { WasmRuntimeOptions } from "../inference/wasm/wasm-runtime.ts";

import wasmModule from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
import { checkGoldenTile } from "../../inference/golden-tile.ts";
import { OrtWebSegmenter } from "../../inference/wasm/ort-web.ts";
import { createWorker } from "./create-worker.ts";

/** The edge function on onnxruntime-web, for networks that the engine cannot run. The platform must allow shared memory. */
export default createWorker(async (model, maxHeapBytes) => {
  const segmenter = await OrtWebSegmenter.create(model, { wasmModule, maxHeapBytes });
  try {
    const { maxAbs, meanAbs } = await checkGoldenTile(segmenter, model);
    return { segmenter, golden: { maxAbs, meanAbs } };
  } catch (error) {
    // Report this error, not one of the cleanup.
    await segmenter.close().catch(() => {});
    throw error;
  }
});

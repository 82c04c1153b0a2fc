import { WindowRunner } from "../../../src/inference/engine/window-runner.ts";
import { isOutOfMemory } from "../../../src/inference/errors.ts";
import type { Segmenter } from "../../../src/inference/segmenter.ts";
import type { InferenceRequest, InferenceResponse, InferenceResult } from "../data/inference-messages.ts";

let engine: WindowRunner | undefined;
let runtime: Segmenter | undefined;

self.onmessage = async ({
  data: { id, request },
}: MessageEvent<{ id: number; request: InferenceRequest }>) => {
  try {
    const result = await answer(request);
    respond({ id, result }, buffersOf(result));
  } catch (error) {
    const { message } = error as Error;
    respond({ id, error: message, outOfMemory: isOutOfMemory(message) });
  }
};

async function answer(request: InferenceRequest): Promise<InferenceResult> {
  switch (request.kind) {
    case "engine":
      engine = await WindowRunner.create(request.model, request.kernels);
      return { kind: "engine", arithmetic: engine.arithmetic };
    case "runtime": {
      // Loaded for such networks only.
      const { OrtWebSegmenter } = await import("../../../src/inference/wasm/ort-web.ts");
      runtime = await OrtWebSegmenter.create(request.model);
      return { kind: "runtime", info: runtime.info };
    }
    case "window": {
      const before = engine!.runMilliseconds;
      const { pixels, channels, scaling, precision } = request;
      const segmented = engine!.segment(pixels, channels, scaling, precision);
      return { kind: "window", ...segmented, milliseconds: engine!.runMilliseconds - before };
    }
    case "batch": {
      const before = runtime!.runMilliseconds ?? 0;
      const output = await runtime!.segment(request.batch, request.options);
      return { kind: "batch", output, milliseconds: (runtime!.runMilliseconds ?? 0) - before };
    }
  }
}

/** Moved to the receiver instead of copied. */
function buffersOf(result: InferenceResult): ArrayBuffer[] {
  const arrays =
    result.kind === "window"
      ? [result.data, result.labels]
      : [result.kind === "batch" ? result.output.data : undefined];
  return arrays.flatMap((array) => (array ? [array.buffer as ArrayBuffer] : []));
}

function respond(response: InferenceResponse, transfer: Transferable[] = []): void {
  self.postMessage(response, { transfer });
}

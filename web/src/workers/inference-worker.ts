import { OrtWebSegmenter } from "../../../src/inference/wasm/ort-web.ts";
import type { InferenceRequest, InferenceResponse } from "../data/inference-messages.ts";

let segmenter: OrtWebSegmenter | undefined;

self.onmessage = async ({ data: request }: MessageEvent<InferenceRequest>) => {
  const { id } = request;
  try {
    if (request.kind === "open") {
      segmenter = await OrtWebSegmenter.create(request.model);
      return respond({ id, ok: true, info: segmenter.info, runMilliseconds: 0 });
    }
    const output = await segmenter!.segment(request.batch, request.options);
    const { runMilliseconds } = segmenter!;
    respond({ id, ok: true, output, runMilliseconds }, [output.data.buffer as ArrayBuffer]);
  } catch (error) {
    respond({ id, ok: false, message: (error as Error).message });
  }
};

function respond(response: InferenceResponse, transfer: Transferable[] = []): void {
  self.postMessage(response, { transfer });
}

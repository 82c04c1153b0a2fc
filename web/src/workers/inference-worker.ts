import type { Segmenter } from "../../../src/inference/segmenter.ts";
import { openInWeb } from "../../../src/inference/wasm/open-in-web.ts";
import type { InferenceRequest, InferenceResponse } from "../data/inference-messages.ts";

let segmenter: Segmenter | undefined;

self.onmessage = async ({ data: request }: MessageEvent<InferenceRequest>) => {
  const { id } = request;
  try {
    if (request.kind === "open") {
      segmenter = await openInWeb(request.model);
      return respond({ id, ok: true, info: segmenter.info, runMilliseconds: 0 });
    }
    const output = await segmenter!.segment(request.batch, request.options);
    const { runMilliseconds = 0 } = segmenter!;
    respond({ id, ok: true, output, runMilliseconds }, [output.data.buffer as ArrayBuffer]);
  } catch (error) {
    respond({ id, ok: false, message: (error as Error).message });
  }
};

function respond(response: InferenceResponse, transfer: Transferable[] = []): void {
  self.postMessage(response, { transfer });
}

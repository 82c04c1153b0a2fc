import type { R2Bucket } from "@cloudflare/workers-types";
import { MultipartSink } from "../../../../src/edge/jobs/lifecycle/multipart-sink.ts";
import { pattern } from "./pattern.ts";

/** Writes `bytes` of the pattern in pieces of `piece`, then overwrites the first `head` bytes with 255; or aborts. */
export default {
  async fetch(request: Request, { BUCKET }: { BUCKET: R2Bucket }): Promise<Response> {
    const { searchParams } = new URL(request.url);
    const [bytes, piece, head] = ["bytes", "piece", "head"].map((name) => Number(searchParams.get(name)));
    const sink = new MultipartSink(BUCKET, "results/out", "out", "image/tiff");
    const data = pattern(bytes!);
    for (let at = 0; at < data.length; at += piece!) await sink.append(data.subarray(at, at + piece!));
    if (searchParams.has("abort")) {
      await sink.abort();
      return Response.json({});
    }
    return Response.json(await sink.finish(head ? new Uint8Array(head).fill(255) : undefined));
  },
};

import "./codecs.ts";
import { isTilewrightError, segment } from "tilewright";

/** What the page is told. */
export type SegmentReply =
  | { progress: string }
  | { error: string }
  | { labels: Uint8Array; shape: readonly number[]; objects: number };

const reply = (message: SegmentReply) => self.postMessage(message);

/** The model blocks the thread it runs in, so it runs here and not in the page. */
self.addEventListener("message", async ({ data }: MessageEvent<{ picture: File; model: string }>) => {
  try {
    const { labels, objects } = await segment({
      source: data.picture,
      model: data.model,
      variant: "int4-edge",
      mpp: 0.25,
      onProgress(event) {
        if (event.type === "progress")
          reply({ progress: `${event.windowsDone} of ${event.windowsTotal} windows` });
      },
    });
    reply({ labels: labels.data, shape: labels.shape, objects: objects.length });
  } catch (error) {
    if (!isTilewrightError(error)) throw error;
    reply({ error: error.message });
  }
});

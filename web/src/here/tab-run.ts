import type { ProgressEvent } from "../../../src/portable/progress.ts";
import type { LocalFile } from "../data/file-store.ts";
import type { SegmentEvent, SegmentRequest } from "../data/segment-messages.ts";

export interface TabRun {
  /** Resolves with the files of the run. @throws {Error} a sentence; an AbortError after `stop` */
  done: Promise<readonly LocalFile[]>;
  stop(): void;
}

/** Segments a scan in Web Workers of this tab. */
export function startTabRun(request: SegmentRequest, onProgress: (event: ProgressEvent) => void): TabRun {
  const worker = new Worker(new URL("../workers/segment-worker.ts", import.meta.url), { type: "module" });
  let stop = () => {};
  const done = new Promise<readonly LocalFile[]>((resolve, reject) => {
    stop = () => reject(new DOMException("the run was stopped", "AbortError"));
    worker.onmessage = ({ data }: MessageEvent<SegmentEvent>) => {
      if (data.kind === "progress") onProgress(data.event);
      else if (data.kind === "done") resolve(data.files);
      else reject(new Error(data.message));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`the tab could not finish: ${event.message || "it has too little memory"}`));
    };
    worker.postMessage(request);
  });
  return { done: done.finally(() => worker.terminate()), stop: () => stop() };
}

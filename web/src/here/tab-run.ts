import type { ProgressEvent } from "../../../src/portable/progress.ts";
import type { LocalFile } from "../data/file-store.ts";
import type { SegmentEvent, SegmentRequest } from "../data/segment-messages.ts";
import type { ResultsFolder } from "./results-folder.ts";

/** Results of a run in this tab. */
export interface TabResults {
  /** With keys below `out/`. */
  files: readonly LocalFile[];
  /** Undefined: they are in memory. */
  folder?: ResultsFolder;
}

export interface TabRun {
  /** @throws {Error} a sentence; an AbortError after `stop`. Then nothing is left in the folder */
  done: Promise<TabResults>;
  stop(): void;
}

/** Segments a scan in Web Workers of this tab. @param folder an empty one */
export function startTabRun(
  request: Omit<SegmentRequest, "folder">,
  folder: ResultsFolder | undefined,
  onProgress: (event: ProgressEvent) => void,
): TabRun {
  const worker = new Worker(new URL("../workers/segment-worker.ts", import.meta.url), { type: "module" });
  let stop = () => {};
  const files = new Promise<readonly LocalFile[]>((resolve, reject) => {
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
    worker.postMessage({ ...request, folder: folder?.handle } satisfies SegmentRequest);
  });
  const finish = async (): Promise<TabResults> => {
    try {
      return { files: await files, folder };
    } catch (error) {
      worker.terminate();
      await folder?.remove();
      throw error;
    } finally {
      worker.terminate();
    }
  };
  return { done: finish(), stop: () => stop() };
}

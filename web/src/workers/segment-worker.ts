import type { ProgressEvent } from "../../../src/portable/progress.ts";
import { loadModelInWeb, segmentInWeb, segmentInWorkspace } from "../../../src/portable/web.ts";
import { StorageError } from "../../../src/storage/errors.ts";
import type { ObjectStore } from "../../../src/storage/object-store.ts";
import type { LocalFile } from "../data/file-store.ts";
import { openPlace } from "../data/place.ts";
import type { SegmentEvent, SegmentRequest } from "../data/segment-messages.ts";
import { registerCodecModules } from "./codec-modules.ts";
import { filesBelow } from "./folder-store.ts";
import { FolderWorkspace } from "./folder-workspace.ts";
import { openInWorkers } from "./segmenter-pool.ts";

registerCodecModules();

self.onmessage = async ({ data: request }: MessageEvent<SegmentRequest>) => {
  try {
    tell({ kind: "done", files: await run(request) });
  } catch (error) {
    tell({ kind: "failed", message: (error as Error).message });
  }
};

function tell(event: SegmentEvent): void {
  self.postMessage(event);
}

async function run({
  image,
  model,
  variant,
  mpp,
  settings,
  threads,
  folder,
}: SegmentRequest): Promise<LocalFile[]> {
  const loaded = await loadModelInWeb(
    { store: openPlace(model.place), prefix: `${model.key}/` },
    { variant },
  );
  const segmenter = await openInWorkers(loaded, threads);
  const options = {
    ...settings,
    source: { store: openPlace(image.place), key: image.key },
    model: loaded,
    segmenter,
    mpp,
    threads,
    onProgress: (event: ProgressEvent) => tell({ kind: "progress", event }),
  };
  try {
    if (folder !== undefined) {
      await segmentInWorkspace(options, new FolderWorkspace(folder));
      const files: LocalFile[] = [];
      for await (const { key, handle } of filesBelow(folder, "out/"))
        files.push({ key, file: await handle.getFile() });
      return files;
    }
    const files = new Map<string, Blob>();
    await segmentInWeb({ ...options, out: { store: createBlobStore(files), prefix: "out/" } });
    return [...files].map(([key, file]) => ({ key, file }));
  } finally {
    await segmenter.close();
  }
}

/** Takes results as blobs, which a browser may keep on disk. */
function createBlobStore(files: Map<string, Blob>): ObjectStore {
  const get = async (key: string) => {
    const blob = files.get(key);
    return blob && new Uint8Array(await blob.arrayBuffer());
  };
  return {
    async head(key) {
      const blob = files.get(key);
      return blob && { byteLength: blob.size, etag: `"${blob.size}"` };
    },
    async get(key) {
      const bytes = await get(key);
      return bytes && { bytes, byteLength: bytes.length, etag: `"${bytes.length}"` };
    },
    async getRange(key, offset, length) {
      const bytes = await get(key);
      const start = bytes && offset < 0 ? bytes.length + offset : offset;
      return bytes?.slice(start, start + length);
    },
    async put(key, bytes, options) {
      if (options?.ifNoneMatch === "*" && files.has(key)) return false;
      if (bytes.length > 2 ** 31)
        throw new StorageError(`${key} is too large for this tab; use the command line`, {
          retryable: false,
        });
      files.set(key, new Blob([bytes as Uint8Array<ArrayBuffer>]));
      return true;
    },
    async *list(prefix) {
      for (const key of [...files.keys()].sort()) if (key.startsWith(prefix)) yield key;
    },
  };
}

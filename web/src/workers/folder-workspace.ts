import type { OutputTargets } from "../../../src/image/output-targets.ts";
import type { Workspace } from "../../../src/portable/workspace.ts";
import { createLabelFile } from "../../../src/writers/create-label-file.ts";
import type { ZarrLabelStore } from "../../../src/writers/ome-zarr/label-store.ts";
import { createOmeZarr } from "../../../src/writers/ome-zarr/ome-zarr.ts";
import { encodePng } from "../../../src/writers/png.ts";
import { FolderSink } from "./folder-sink.ts";
import { FolderStore } from "./folder-store.ts";

/**
 * Writes a run to an empty folder as it goes: labels chunk by chunk, the other files when they are complete, `run.json`
 * last. Who gave the folder removes it if the run fails.
 */
export class FolderWorkspace implements Workspace {
  readonly store: FolderStore;
  readonly resuming = false;

  constructor(folder: FileSystemDirectoryHandle) {
    this.store = new FolderStore(folder);
  }

  targets(labelStore: ZarrLabelStore | undefined): OutputTargets {
    const { store } = this;
    return {
      async labels(name, info, origin) {
        if (name === "labels.ome.zarr" && labelStore) return labelStore.levelSink({ name });
        if (name.endsWith(".ome.zarr")) return createOmeZarr({ store, prefix: name, name }, info);
        return createLabelFile(name, await FolderSink.create(store, name), info, origin);
      },
      file: (name) => FolderSink.create(store, name),
      async picture(name, picture) {
        const sink = await FolderSink.create(store, name);
        try {
          await sink.append(encodePng(picture));
          return await sink.finish();
        } catch (error) {
          await sink.abort();
          throw error;
        }
      },
    };
  }

  /** Removes the work, which no output is made from any more. */
  async publish(names: readonly string[], manifest: string): Promise<void> {
    for (const name of await this.store.names()) if (!names.includes(name)) await this.store.remove(name);
    await this.store.put("run.json", new TextEncoder().encode(manifest));
  }

  discard(): void {}

  async close(): Promise<void> {}
}

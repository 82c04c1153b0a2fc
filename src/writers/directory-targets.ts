import { join } from "node:path";
import type { LabelMapInfo, LabelSink } from "../image/label-sink.ts";
import type { LabelOrigin, LabelOutputName, OutputTargets } from "../image/output-targets.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { createFileSink } from "./base/file-sink.ts";
import { createLabelFile } from "./create-label-file.ts";
import type { ZarrLabelStore } from "./ome-zarr/label-store.ts";
import { createOmeZarr } from "./ome-zarr/ome-zarr.ts";
import { encodePng } from "./png.ts";

/**
 * Writes outputs to files and directories of one directory. `store` is the same directory as a store, for Zarr.
 * `labelStore` becomes `labels.ome.zarr` in place; without it that output is written like the others.
 */
export function createDirectoryTargets(options: {
  directory: string;
  store: ObjectStore;
  labelStore?: ZarrLabelStore;
  /** BigTIFF even if a classic TIFF suffices. */
  bigTiff?: boolean;
}): OutputTargets {
  const { directory, store, labelStore, bigTiff } = options;
  return {
    async labels(name: LabelOutputName, info: LabelMapInfo, origin: LabelOrigin): Promise<LabelSink> {
      if (name === "labels.ome.zarr" && labelStore) return labelStore.levelSink({ name });
      if (name.endsWith(".ome.zarr")) return createOmeZarr({ store, prefix: name, name }, info);
      return createLabelFile(name, await createFileSink(join(directory, name)), info, origin, { bigTiff });
    },
    file: (name) => createFileSink(join(directory, name)),
    async picture(name, picture) {
      const sink = await createFileSink(join(directory, name));
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

import type { R2Bucket } from "@cloudflare/workers-types";
import type { OutputName, OutputTargets } from "../../../image/output-targets.ts";
import { createLabelFile } from "../../../writers/create-label-file.ts";
import type { ZarrLabelStore } from "../../../writers/ome-zarr/label-store.ts";
import { createOmeZarr } from "../../../writers/ome-zarr/ome-zarr.ts";
import { encodePng } from "../../../writers/png.ts";
import { resultsStore } from "../../shared/results-store.ts";
import { MultipartSink } from "./multipart-sink.ts";

const CONTENT_TYPES: readonly [string, string][] = [
  [".tiff", "image/tiff"],
  [".geojson", "application/geo+json"],
  [".csv", "text/csv; charset=utf-8"],
  [".png", "image/png"],
  [".gz", "application/gzip"],
  [".dcm", "application/dicom"],
];

/** Writes outputs as objects below `prefix` of a bucket. `labelStore`, if given, becomes `labels.ome.zarr` in place. */
export function bucketTargets(bucket: R2Bucket, prefix: string, labelStore?: ZarrLabelStore): OutputTargets {
  const open = (name: OutputName) => {
    const type = CONTENT_TYPES.find(([end]) => name.endsWith(end))?.[1] ?? "application/octet-stream";
    return new MultipartSink(bucket, prefix + name, name, type);
  };
  return {
    async labels(name, info, origin) {
      if (name === "labels.ome.zarr" && labelStore) return labelStore.levelSink({ name });
      if (name.endsWith(".ome.zarr")) {
        return createOmeZarr({ store: resultsStore(bucket, prefix), prefix: name, name }, info);
      }
      return createLabelFile(name, open(name), info, origin);
    },
    file: async (name) => open(name),
    async picture(name, picture) {
      const sink = open(name);
      await sink.append(encodePng(picture));
      return sink.finish();
    },
  };
}

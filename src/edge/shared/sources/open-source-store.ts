import type { R2Bucket } from "@cloudflare/workers-types";
import type { ObjectStore } from "../../../storage/object-store.ts";
import { R2Store } from "../../../storage/r2-store.ts";
import { Problem } from "../problem.ts";

export interface SourceBindings {
  SCANS?: R2Bucket;
  SCANS_BUCKET?: string;
  SOURCES?: string;
  SOURCE_KEYS?: string;
}

export async function openSourceStore(
  env: SourceBindings,
  uri: string,
): Promise<{ store: ObjectStore; key: string; name: string; uri: string }> {
  const match = /^r2:\/\/([^/]+)\/(.+)$/.exec(uri);
  if (!match || match[1] !== env.SCANS_BUCKET)
    throw new Problem(422, "source_refused", "this source may not be read");
  return { store: new R2Store(env.SCANS!), key: match[2]!, name: match[2]!.split("/").at(-1)!, uri };
}

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import type { Bundle } from "../../run-worker.ts";

/** Runs the Worker of this folder; `directory` makes its storage persistent. */
export async function runTransferWorker(
  bundle: Bundle,
  options: { bindings?: Record<string, string>; directory?: string } = {},
): Promise<Miniflare> {
  const path = join(bundle.directory, "worker.js");
  const miniflare = new Miniflare({
    ...convertV4MiniflareOptions({
      host: "127.0.0.1",
      cf: false,
      modulesRoot: bundle.directory,
      modules: [{ type: "ESModule", path, contents: await readFile(path) }],
      compatibilityDate: "2026-11-01",
      bindings: { SCANS_BUCKET: "scans", ...options.bindings },
      r2Buckets: { SCANS: "scans", RESULTS: "results" },
      durableObjects: { UPLOADS: { className: "UploadLedger", useSQLite: true } },
      resourcePersistencePath: options.directory,
    }),
  });
  await miniflare.ready;
  return miniflare;
}

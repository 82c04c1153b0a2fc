import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare, type Request, type Response } from "miniflare";
import {
  type Bundle,
  bundleWorker,
  COMPATIBILITY_DATE,
  readModules,
} from "../../src/cli/stack/worker-bundle.ts";

export { type Bundle, bundleWorker };

/**
 * Runs a bundle in workerd, on loopback and a free port, with an R2 of its own under each binding of `buckets`.
 * `internet` handles requests of the Worker; without it they go to their hosts.
 */
export async function runWorker(
  bundle: Bundle,
  options: {
    bindings?: Record<string, string>;
    buckets?: string[];
    internet?: (request: Request) => Response | Promise<Response>;
  },
): Promise<Miniflare> {
  const settings = convertV4MiniflareOptions({
    host: "127.0.0.1",
    cf: false,
    ...(await readModules(bundle.directory)),
    compatibilityDate: COMPATIBILITY_DATE,
    bindings: options.bindings ?? {},
    r2Buckets: options.buckets ?? [],
    outboundService: options.internet,
  });
  const miniflare = new Miniflare(settings);
  await miniflare.ready;
  return miniflare;
}

/** Puts the files of a directory under `prefix` of a Worker's bucket. */
export async function upload(
  miniflare: Miniflare,
  bucket: string,
  directory: string,
  prefix: string,
): Promise<void> {
  const r2 = await miniflare.getR2Bucket(bucket);
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    await r2.put(prefix + path.slice(directory.length + 1), await readFile(path));
  }
}

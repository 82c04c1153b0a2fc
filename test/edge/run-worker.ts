import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { convertV4MiniflareOptions, Miniflare, type Request, type Response } from "miniflare";

const ROOT = join(import.meta.dirname, "../..");

/** A Worker as wrangler would upload it. */
export interface Bundle {
  directory: string;
  /** What `wrangler deploy --dry-run` printed. */
  log: string;
  remove(): Promise<void>;
}

/** Bundles the Worker of a wrangler configuration without touching the network. */
export async function bundleWorker(config: string): Promise<Bundle> {
  const directory = await mkdtemp(join(tmpdir(), "tilewright-worker-"));
  const wrangler = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [wrangler, "deploy", "--dry-run", "--config", join(ROOT, config), "--outdir", directory],
    {
      cwd: ROOT,
      env: {
        ...process.env,
        WRANGLER_SEND_METRICS: "false",
        WRANGLER_SEND_ERROR_REPORTS: "false",
        WRANGLER_HIDE_BANNER: "true",
        CLOUDFLARE_CF_FETCH_ENABLED: "false",
        WRANGLER_LOG_PATH: join(directory, "log"),
      },
    },
  );
  return { directory, log: stdout, remove: () => rm(directory, { recursive: true }) };
}

/**
 * Runs a bundle in workerd, on loopback and a free port, with an R2 of its own under each binding of `buckets`.
 * `internet` answers what the Worker fetches; without it requests go where they are meant to.
 */
export async function runWorker(
  bundle: Bundle,
  options: {
    bindings?: Record<string, string>;
    buckets?: string[];
    internet?: (request: Request) => Response | Promise<Response>;
  },
): Promise<Miniflare> {
  const names = (await readdir(bundle.directory)).filter((name) => /\.(js|wasm)$/.test(name));
  // The entry comes first.
  names.sort((a, b) => Number(b.endsWith(".js")) - Number(a.endsWith(".js")));
  const modules = await Promise.all(
    names.map(async (name) => ({
      type: name.endsWith(".js") ? ("ESModule" as const) : ("CompiledWasm" as const),
      path: join(bundle.directory, name),
      contents: new Uint8Array(await readFile(join(bundle.directory, name))),
    })),
  );
  const settings = convertV4MiniflareOptions({
    host: "127.0.0.1",
    cf: false,
    modulesRoot: bundle.directory,
    modules,
    compatibilityDate: "2026-11-01",
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

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { JobError } from "../../orchestrator/errors.ts";

/** The clone of the repository: this file is in its `src/`, or in its `dist/src/`. The published package holds no Workers. */
const ROOT = ["../../..", "../../../.."]
  .map((up) => fileURLToPath(new URL(up, import.meta.url)))
  .find((directory) => existsSync(join(directory, "wrangler.toml")));

/** As in both Workers' configurations. */
export const COMPATIBILITY_DATE = "2026-11-01";

/** A Worker as wrangler would upload it. */
export interface Bundle {
  directory: string;
  /** Output of `wrangler deploy --dry-run`. */
  log: string;
  remove(): Promise<void>;
}

/** Bundles the Worker of a wrangler configuration (path from the repository's root) without using the network. */
export async function bundleWorker(config: string): Promise<Bundle> {
  if (ROOT === undefined) {
    throw new JobError("the Workers are built from a clone of the repository: git clone it and npm ci");
  }
  const directory = await mkdtemp(join(tmpdir(), "tilewright-worker-"));
  const remove = () => rm(directory, { recursive: true, force: true });
  const wrangler = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
  try {
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
    return { directory, log: stdout, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** The code of a bundle, as miniflare takes it. */
export async function readModules(directory: string) {
  const names = (await readdir(directory)).filter((name) => /\.(js|wasm)$/.test(name));
  // The entry comes first.
  names.sort((a, b) => Number(b.endsWith(".js")) - Number(a.endsWith(".js")));
  const modules = await Promise.all(
    names.map(async (name) => ({
      type: name.endsWith(".js") ? ("ESModule" as const) : ("CompiledWasm" as const),
      path: join(directory, name),
      contents: new Uint8Array(await readFile(join(directory, name))),
    })),
  );
  return { modulesRoot: directory, modules };
}

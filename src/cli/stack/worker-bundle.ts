import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { JobError } from "../../orchestrator/errors.ts";

/** The clone of the repository: this file is in its `src/`, or in its `dist/src/`. The published package is none. */
const ROOT = ["../../..", "../../../.."]
  .map((up) => fileURLToPath(new URL(up, import.meta.url)))
  .find((directory) => existsSync(join(directory, "wrangler.toml")));

/** The Workers of the published package: `infra/package/build-workers.ts` builds them. */
const PREBUILT = fileURLToPath(new URL("../../../workers", import.meta.url));

/** As in both Workers' configurations. */
export const COMPATIBILITY_DATE = "2026-11-01";

/** A Worker as wrangler would upload it. */
export interface Bundle {
  directory: string;
  /** Output of `wrangler deploy --dry-run`. */
  log: string;
  remove(): Promise<void>;
}

/** A Worker as the published package holds it. @param name its folder in `dist/workers` */
export function prebuiltWorker(name: string): Bundle | undefined {
  if (ROOT !== undefined || !existsSync(join(PREBUILT, name))) return undefined;
  return { directory: join(PREBUILT, name), log: "", remove: async () => {} };
}

/**
 * Bundles the Worker of a wrangler configuration (path from the repository's root) without using the network.
 * @param options.entry another entry than the configuration's
 */
export async function bundleWorker(config: string, options: { entry?: string } = {}): Promise<Bundle> {
  if (ROOT === undefined) throw new JobError(`there is no ${config}: run this in a clone of the repository`);
  const directory = await mkdtemp(join(tmpdir(), "tilewright-worker-"));
  const remove = () => rm(directory, { recursive: true, force: true });
  const wrangler = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        ...[wrangler, "deploy", ...(options.entry === undefined ? [] : [join(ROOT, options.entry)])],
        ...["--dry-run", "--config", join(ROOT, config), "--outdir", directory],
      ],
      {
        // Where paths of the configuration begin, also with another entry.
        cwd: dirname(join(ROOT, config)),
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
  const entry = (await readdir(directory)).find((name) => name.endsWith(".js"));
  if (entry === undefined) throw new JobError(`${directory} holds no Worker: install Tilewright again`);
  const wasm = new Map<string, string>();
  const text = await readFile(join(directory, entry), "utf8");
  // Prebuilt Workers name some modules by their package, or share them: each gets a name beside the entry.
  const code = text.replace(/(from\s*)"([^"]+\.wasm)"/g, (_, from: string, specifier: string) => {
    const path = /^\.\.?\//.test(specifier)
      ? join(directory, specifier)
      : createRequire(import.meta.url).resolve(specifier);
    wasm.set(basename(path), path);
    return `${from}"./${basename(path)}"`;
  });
  const modules = [...wasm].map(async ([name, path]) => ({
    type: "CompiledWasm" as const,
    path: join(directory, name),
    contents: new Uint8Array(await readFile(path)),
  }));
  return {
    modulesRoot: directory,
    // The entry comes first.
    modules: [
      { type: "ESModule" as const, path: join(directory, entry), contents: code },
      ...(await Promise.all(modules)),
    ],
  };
}

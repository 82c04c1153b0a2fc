import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ModelPackageError } from "../model-package/errors.ts";
import { loadPackage, type ModelPackage } from "../model-package/load-package.ts";
import type { ModelManifest } from "../model-package/manifest.ts";
import { FsStore } from "../storage/fs-store.ts";

/** Bundled packages: `models/` beside `src/`, or beside the `dist/` that contains it. */
const SOURCE_ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const BUNDLED_MODELS =
  [join(SOURCE_ROOT, "..", "models"), join(SOURCE_ROOT, "..", "..", "models")].find(existsSync) ?? "";

/** Loads a bundled package by name, or a package by its directory. */
export async function loadModel(
  nameOrDirectory: string,
  options: { variant?: string; half?: boolean; signal?: AbortSignal } = {},
): Promise<ModelPackage> {
  const directory = resolveModelDirectory(nameOrDirectory);
  const store = new FsStore(directory);
  try {
    return await loadPackage(store, "", nameOrDirectory, options);
  } finally {
    await store.close();
  }
}

/** Name of the variant for edge functions, if a package has one. */
const EDGE_VARIANT = "int4-edge";

/** The default variant of edge functions; undefined: the package's default. */
export function edgeVariant({ variants }: Pick<ModelManifest, "variants">): string | undefined {
  return EDGE_VARIANT in variants ? EDGE_VARIANT : undefined;
}

/** Directory of a package that is given by name or directory. */
export function resolveModelDirectory(nameOrDirectory: string): string {
  if (/^[\w][\w.-]*$/.test(nameOrDirectory)) {
    const bundled = join(BUNDLED_MODELS, nameOrDirectory);
    if (existsSync(join(bundled, "model.json"))) return bundled;
  }
  const directory = resolve(nameOrDirectory);
  if (existsSync(directory)) {
    if (!statSync(directory).isDirectory()) {
      throw new ModelPackageError(
        `model ${nameOrDirectory} is a file: name the directory that holds model.json`,
      );
    }
    return directory;
  }
  throw new ModelPackageError(
    `there is no model ${nameOrDirectory}: bundled are ${bundledModels().join(", ") || "none"}, or name a package directory`,
  );
}

function bundledModels(): string[] {
  if (!existsSync(BUNDLED_MODELS)) return [];
  return readdirSync(BUNDLED_MODELS).filter((name) => existsSync(join(BUNDLED_MODELS, name, "model.json")));
}

import * as z from "zod";
import { sha256Hex } from "../storage/digest.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { ModelPackageError } from "./errors.ts";
import {
  type Golden,
  type HashedFile,
  type ModelManifest,
  type ModelVariant,
  manifestSchema,
} from "./manifest.ts";

const MANIFEST_BYTE_LIMIT = 1 << 20;

export interface PackageFile {
  path: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/** A loaded model package with one chosen variant; the hashes of its files are verified. */
export interface ModelPackage {
  manifest: ModelManifest;
  variantName: string;
  variant: ModelVariant;
  /** Files of the variant in order, verified. */
  files: readonly PackageFile[];
  /** Half-precision companion of the variant, verified; if it has one, its file is there and it was requested. */
  half?: PackageFile;
  /** Pixels and expected probabilities of the golden tile. */
  golden: { spec: Golden; input: Uint8Array; output: Uint8Array };
  /** SHA-256 over the hashes of the files: identifies the weights in keys and manifests. */
  hash: string;
}

/**
 * Loads the package under `prefix` ("" or "name/") of a store.
 * @param name for messages
 * @param options.half read the half-precision companion too
 */
export async function loadPackage(
  store: ObjectStore,
  prefix: string,
  name: string,
  options: { variant?: string; half?: boolean; signal?: AbortSignal } = {},
): Promise<ModelPackage> {
  const { signal } = options;
  const manifest = await loadManifest(store, prefix, name, signal);
  const variantName = options.variant ?? manifest.defaultVariant;
  const variant = Object.hasOwn(manifest.variants, variantName) ? manifest.variants[variantName] : undefined;
  if (!variant) {
    throw new ModelPackageError(
      `model ${name} has no variant "${variantName}"; it has ${Object.keys(manifest.variants).join(", ")}`,
    );
  }
  const files: PackageFile[] = [];
  for (const file of variant.files) files.push(await readHashed(store, prefix, name, file, signal));
  const half = options.half ? await readHalf(store, prefix, name, variant.half, signal) : undefined;
  const spec = variant.golden ?? manifest.golden;
  if (!spec)
    throw new ModelPackageError(`model ${name} has no golden tile: backends cannot be verified without one`);
  const input = await readFile(store, prefix + spec.input.path, name, elements(spec.input.shape), signal);
  const output = await readFile(store, prefix + spec.output.path, name, elements(spec.output.shape), signal);
  const { size } = manifest.window;
  const expectedInput = [1, ...size, manifest.input.channels];
  const expectedOutput = [1, manifest.classes.length, ...size];
  if (
    spec.input.shape.join() !== expectedInput.join() ||
    spec.output.shape.join() !== expectedOutput.join()
  ) {
    throw new ModelPackageError(
      `model ${name}: the golden tile is ${spec.input.shape} → ${spec.output.shape}, the window requires ${expectedInput} → ${expectedOutput}`,
    );
  }
  if (input.length !== elements(spec.input.shape) || output.length !== elements(spec.output.shape)) {
    throw new ModelPackageError(
      `model ${name}: the golden tile's files do not have the size of their shapes`,
    );
  }
  const hash = await sha256Hex(new TextEncoder().encode(variant.files.map((f) => f.sha256).join()));
  return { manifest, variantName, variant, files, half, golden: { spec, input, output }, hash };
}

/** Reads and checks `model.json` alone, which is all that planning needs. */
export async function loadManifest(
  store: ObjectStore,
  prefix: string,
  name: string,
  signal?: AbortSignal,
): Promise<ModelManifest> {
  const info = await store.head(`${prefix}model.json`, { signal });
  if (!info)
    throw new ModelPackageError(`no model.json in ${name}: name a bundled model or a package directory`);
  if (info.byteLength > MANIFEST_BYTE_LIMIT)
    throw new ModelPackageError(`model ${name}: model.json is over 1 MiB`);
  const object = await store.get(`${prefix}model.json`, { signal });
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(object!.bytes));
  } catch (cause) {
    throw new ModelPackageError(`model ${name}: model.json is not JSON`, { cause });
  }
  const parsed = manifestSchema.safeParse(json, {
    error: ({ input }) => (input === undefined ? "it is missing" : undefined),
  });
  if (!parsed.success) {
    throw new ModelPackageError(`model ${name}: model.json is not valid: ${z.prettifyError(parsed.error)}`);
  }
  const manifest = parsed.data;
  if (manifest.window.size.length !== manifest.input.axes.length) {
    throw new ModelPackageError(
      `model ${name}: the window has ${manifest.window.size.length} axes, the input ${manifest.input.axes.length}`,
    );
  }
  for (const c of [...(manifest.objects?.interior ?? []), ...(manifest.objects?.boundary ?? [])]) {
    if (c >= manifest.classes.length) {
      throw new ModelPackageError(`model ${name}: objects name class ${c} of ${manifest.classes.length}`);
    }
  }
  return manifest;
}

/** The companion in half precision, which a copy of a package may leave out: the published one does. */
async function readHalf(
  store: ObjectStore,
  prefix: string,
  name: string,
  file: HashedFile | undefined,
  signal: AbortSignal | undefined,
): Promise<PackageFile | undefined> {
  if (file === undefined || !(await store.head(prefix + file.path, { signal }))) return undefined;
  return readHashed(store, prefix, name, file, signal);
}

async function readHashed(
  store: ObjectStore,
  prefix: string,
  name: string,
  file: HashedFile,
  signal: AbortSignal | undefined,
): Promise<PackageFile> {
  const bytes = await readFile(store, prefix + file.path, name, file.byteLength, signal);
  if (bytes.length !== file.byteLength) {
    throw new ModelPackageError(
      `model ${name}: ${file.path} has ${bytes.length} bytes, model.json says ${file.byteLength}; fetch the package again`,
    );
  }
  if ((await sha256Hex(bytes)) !== file.sha256) {
    throw new ModelPackageError(
      `model ${name}: the hash of ${file.path} is not the one in model.json; fetch the package again`,
    );
  }
  return { path: file.path, bytes };
}

async function readFile(
  store: ObjectStore,
  key: string,
  name: string,
  byteLength: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const info = await store.head(key, { signal });
  if (!info) throw new ModelPackageError(`model ${name}: ${key} is missing; fetch the package again`);
  if (info.byteLength > byteLength) {
    throw new ModelPackageError(
      `model ${name}: ${key} has ${info.byteLength} bytes, model.json says ${byteLength}; fetch the package again`,
    );
  }
  const object = await store.get(key, { signal });
  if (!object) throw new ModelPackageError(`model ${name}: ${key} is missing; fetch the package again`);
  return object.bytes as Uint8Array<ArrayBuffer>;
}

function elements(shape: readonly number[]): number {
  return shape.reduce((p, n) => p * n, 1);
}

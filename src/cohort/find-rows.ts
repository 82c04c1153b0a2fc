import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import picomatch from "picomatch";
import { ImageNotFoundError } from "../image/errors.ts";
import { JobError } from "../orchestrator/errors.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { CohortManifestError } from "./errors.ts";
import {
  type CohortRow,
  decodeManifest,
  describeInvalidId,
  type ManifestRows,
  readManifest,
  sourceName,
} from "./manifest-rows.ts";

export interface FoundRows extends ManifestRows {
  kind: "manifest" | "folder" | "pattern" | "prefix";
}

/** File names of images. Sniffing every file of a bucket would take a request each. */
const IMAGE = /\.(svs|tiff?|ndpi|scn|bif|qptiff|png|jpe?g|nii(\.gz)?|dcm)$/i;
const MAX_FILES = 1_000_000;

/**
 * Finds the scans of a cohort: in a manifest, in a folder and below, by a glob pattern (`*`, `?`, `**`, `[a-c]`,
 * `{svs,tif}`), or under a bucket's prefix. Without a manifest each image is a row, in the order of paths; a
 * directory `*.zarr` and a directory of DICOM files are one row each.
 * @param except directory that is skipped: that of the results
 * @param encoding of a manifest; default UTF-8, or UTF-16 if the file has its byte order mark
 */
export async function findRows(
  cohort: string,
  taken: ReadonlySet<string>,
  except: string,
  { encoding, signal }: { encoding?: string; signal?: AbortSignal } = {},
): Promise<FoundRows> {
  if (/^s3:\/\//i.test(cohort)) {
    return { kind: "prefix", ...toRows(cohort, await listPrefix(cohort, signal)) };
  }
  const whole = path.resolve(cohort.replace(/^file:\/\//, ""));
  const info = statSync(whole, { throwIfNoEntry: false });
  if (info?.isDirectory()) {
    return { kind: "folder", ...toRows(cohort, listFolder(whole, path.resolve(except))) };
  }
  if (info) {
    const text = decodeManifest(path.basename(whole), readFileSync(whole), encoding);
    return { kind: "manifest", ...readManifest(path.basename(whole), text, path.dirname(whole), taken) };
  }
  if (isGlob(cohort)) {
    const base = existingParent(whole);
    const matches = compileGlob(path.relative(base, whole));
    const files = listFolder(base, path.resolve(except)).filter((file) => matches(path.relative(base, file)));
    return { kind: "pattern", ...toRows(cohort, files) };
  }
  throw new ImageNotFoundError(
    cohort,
    `there is no manifest or folder ${cohort}; give a CSV file, a folder, a pattern or s3://bucket/prefix`,
  );
}

/** Whether a name is a glob pattern: it contains `*`, `?`, `[a-c]` or `{svs,tif}`. */
export function isGlob(name: string): boolean {
  return /[*?]|\[[^\]]+\]|\{[^}]*,[^}]*\}/.test(name);
}

/**
 * `*`, `?`, `[a-c]` and `{svs,tif}` stay within a path segment, `**` crosses segments. Other characters are literal.
 */
export function compileGlob(pattern: string): (relativePath: string) => boolean {
  // Scans have names like "slide (1).svs": extended globs are off, and parentheses are literal.
  return picomatch(pattern.replaceAll(/[()+!|^$]/g, "\\$&"), { noextglob: true, nonegate: true });
}

/** The deepest directory of a pattern that exists: its brackets and braces are literal. */
function existingParent(pattern: string): string {
  let folder = path.dirname(pattern);
  while (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) folder = path.dirname(folder);
  return folder;
}

/** Ids are file names if those are unique, else paths below the common folder. */
function toRows(cohort: string, sources: readonly string[]): ManifestRows {
  if (sources.length === 0) {
    throw new JobError(
      `no image was found in ${cohort}: looked for .svs, .tif, .ndpi, .nii, .dcm and others`,
    );
  }
  const sorted = [...new Set(sources)].sort();
  const names = sorted.map(sourceName);
  const unique = new Set(names.map((name) => name.toLowerCase())).size === names.length;
  const shared = commonFolder(sorted);
  const rows: CohortRow[] = sorted.map((source, i) => ({
    id: unique ? names[i]! : source.slice(shared).replaceAll(/[/\\]/g, "__"),
    source,
    values: [],
  }));
  const seen = new Set<string>();
  const problems = rows.flatMap(({ id }) => {
    const wrong = seen.has(id.toLowerCase())
      ? "is there twice: write a manifest with ids"
      : describeInvalidId(id);
    seen.add(id.toLowerCase());
    return wrong ? [`id "${id}" ${wrong}`] : [];
  });
  if (problems.length > 0) throw new CohortManifestError(cohort, problems);
  return { covariates: [], rows };
}

function commonFolder(sorted: readonly string[]): number {
  const [first = "", last = ""] = [sorted[0], sorted.at(-1)];
  let n = 0;
  while (n < first.length && first[n] === last[n]) n++;
  return first.lastIndexOf("/", n - 1) + 1;
}

function listFolder(root: string, except: string): string[] {
  const found: string[] = [];
  const walk = (folder: string) => {
    if (folder === except) return;
    let entries: import("node:fs").Dirent[];
    try {
      entries = readdirSync(folder, { withFileTypes: true });
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new JobError(`${folder} cannot be listed (${code}): check its name and permissions`, { cause });
    }
    const names = entries.filter((entry) => !entry.name.startsWith("."));
    if (names.some((entry) => entry.isFile() && /\.dcm$/i.test(entry.name))) return void found.push(folder);
    for (const entry of names) {
      const whole = path.join(folder, entry.name);
      if (entry.isDirectory()) {
        if (/\.zarr$/i.test(entry.name)) found.push(whole);
        else walk(whole);
      } else if (IMAGE.test(entry.name)) found.push(whole);
      if (found.length > MAX_FILES)
        throw new JobError(`there are more than ${MAX_FILES} images below ${root}`);
    }
  };
  walk(root);
  return found;
}

async function listPrefix(prefix: string, signal?: AbortSignal): Promise<string[]> {
  const [, bucket, below = ""] = /^s3:\/\/([^/]+)\/?(.*)$/i.exec(prefix) ?? [];
  if (!bucket) throw new JobError(`${prefix} names no bucket; write s3://bucket/prefix`);
  const { S3Store } = await import("../storage/s3-store.ts");
  const store = new S3Store(bucket);
  try {
    const keys = await imagesBelow(store, below, signal);
    return keys.map((key) => `s3://${bucket}/${key}`);
  } finally {
    store.close();
  }
}

/** Keys of images under a prefix; a Zarr or a folder of DICOM files is one. */
export async function imagesBelow(
  store: Pick<ObjectStore, "list">,
  prefix: string,
  signal?: AbortSignal,
): Promise<string[]> {
  const found = new Set<string>();
  for await (const key of store.list(prefix, { signal })) {
    const zarr = /^(?:.*?\/)?[^/]*\.zarr(?=\/)/i.exec(key)?.[0];
    const folder = key.includes("/") ? key.slice(0, key.lastIndexOf("/")) : undefined;
    if (zarr) found.add(zarr);
    else if (/\.dcm$/i.test(key) && folder !== undefined) found.add(folder);
    else if (IMAGE.test(key)) found.add(key);
    if (found.size > MAX_FILES) throw new JobError(`there are more than ${MAX_FILES} images below ${prefix}`);
  }
  return [...found];
}

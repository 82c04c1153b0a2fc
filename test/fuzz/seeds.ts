import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { madeSeeds } from "./made-seeds.ts";

export const FORMATS = [
  "tiff",
  "ome",
  "dicom",
  "series",
  "zip",
  "nifti",
  "png",
  "jpeg",
  "zarr",
  "model",
  "manifest",
  "mask",
] as const;
export type Format = (typeof FORMATS)[number];

export type Objects = Readonly<Record<string, Uint8Array>>;

export interface Seed {
  format: Format;
  name: string;
  /** What to open: a key of `load()`, or a prefix of its keys. */
  key: string;
  /** Approximate stored bytes: large seeds are chosen more rarely. */
  size: number;
  load(): Objects;
}

const MOST_BYTES = 4 << 20;
const MOST_FILES = 200;
/** For folders of hundreds of similar files. */
const OF_A_FOLDER = 6;

const root = path.join(import.meta.dirname, "../..");

const EXTENSIONS: readonly [RegExp, Format][] = [
  [/\.ome\.tiff?$/, "ome"],
  [/\.(tiff?|svs|ndpi)$/, "tiff"],
  [/\.png$/, "png"],
  [/\.jpe?g$/, "jpeg"],
  [/\.(dcm|dicom)$/, "dicom"],
  [/\.nii(\.gz)?$/, "nifti"],
  [/\.zip$/, "zip"],
  [/\.csv$/, "manifest"],
  [/\.geojson$/, "mask"],
];

/**
 * All seeds by format, in an order that depends on the files alone. Includes the test data beside the repo, if
 * present.
 */
export function findSeeds(): Record<Format, Seed[]> {
  const seeds = Object.fromEntries(FORMATS.map((format) => [format, [] as Seed[]])) as Record<Format, Seed[]>;
  for (const seed of madeSeeds()) seeds[seed.format].push(seed);
  for (const folder of ["test/readers", "../shared/cases", "../shared/data"]) {
    const at = path.join(root, folder);
    if (!existsSync(at)) continue;
    for (const seed of seedsBelow(at, folder)) seeds[seed.format].push(seed);
  }
  return seeds;
}

function* seedsBelow(directory: string, name: string): Generator<Seed> {
  const entries = readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  const names = new Set(entries.map((entry) => entry.name));
  if (isOmeZarr(directory, names)) yield folderSeed("zarr", directory, name, "made.ome.zarr");
  let plain = 0;
  const taken = new Map<Format, number>();
  for (const entry of entries) {
    const at = path.join(directory, entry.name);
    if (entry.isDirectory()) {
      yield* seedsBelow(at, `${name}/${entry.name}`);
      continue;
    }
    const format = EXTENSIONS.find(([pattern]) => pattern.test(entry.name.toLowerCase()))?.[1];
    if (!format) {
      // Names of slices are often numbers or UIDs.
      if (/^(\d+|[A-Z]+[\d.]+)$/.test(entry.name)) plain++;
      continue;
    }
    const { size } = statSync(at);
    const count = taken.get(format) ?? 0;
    const isAlike = /^(nuclei|vol)-/.test(path.basename(path.dirname(directory)));
    if (size === 0 || size > MOST_BYTES || (isAlike && count >= OF_A_FOLDER)) continue;
    taken.set(format, count + 1);
    const key = `made.${entry.name.split(".").slice(1).join(".").toLowerCase()}`;
    yield { format, name: `${name}/${entry.name}`, key, size, load: () => ({ [key]: readFileSync(at) }) };
  }
  if (
    plain > 1 &&
    !names.has(".zarray") &&
    firstBytes(
      directory,
      entries.map((e) => e.name),
    )
  )
    yield folderSeed("series", directory, name, "scan");
}

/** Whether a file of a folder is DICOM. */
function firstBytes(directory: string, names: readonly string[]): boolean {
  const at = names.map((name) => path.join(directory, name)).find((file) => statSync(file).isFile());
  return at !== undefined && readFileSync(at).subarray(128, 132).toString() === "DICM";
}

function isOmeZarr(directory: string, names: ReadonlySet<string>): boolean {
  const metadata = [".zattrs", "zarr.json"].find((name) => names.has(name));
  return metadata !== undefined && readFileSync(path.join(directory, metadata)).includes("multiscales");
}

function folderSeed(format: Format, directory: string, name: string, key: string): Seed {
  const load = () => {
    const objects: Record<string, Uint8Array> = {};
    let bytes = 0;
    const below = (folder: string, prefix: string) => {
      for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) =>
        a.name < b.name ? -1 : 1,
      )) {
        const at = path.join(folder, entry.name);
        if (entry.isDirectory()) below(at, `${prefix}/${entry.name}`);
        else if (Object.keys(objects).length < MOST_FILES && bytes + statSync(at).size <= MOST_BYTES / 2) {
          objects[`${prefix}/${entry.name}`] = readFileSync(at);
          bytes += objects[`${prefix}/${entry.name}`]!.length;
        }
      }
    };
    below(directory, key);
    return objects;
  };
  return { format, name, key, size: 500_000, load };
}

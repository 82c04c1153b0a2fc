import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CohortManifestError } from "../../src/cohort/errors.ts";
import { decodeManifest, readManifest } from "../../src/cohort/manifest-rows.ts";
import { describeImage } from "../../src/image/describe.ts";
import { ImageFormatError, ImageNotFoundError } from "../../src/image/errors.ts";
import type { ImageSource } from "../../src/image/image-source.ts";
import { readMask } from "../../src/local/read-mask.ts";
import { ModelPackageError } from "../../src/model-package/errors.ts";
import { loadPackage } from "../../src/model-package/load-package.ts";
import { JobError } from "../../src/orchestrator/errors.ts";
import { readRegionPicture } from "../../src/orchestrator/input/thumbnail.ts";
import { parseNiftiHeader } from "../../src/readers/nifti/header.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { ObjectChangedError, StorageError } from "../../src/storage/errors.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { product } from "../../src/tiling/grid/raster.ts";
import { sourceAttributes } from "../../src/writers/dicom-seg/source-attributes.ts";
import type { Case } from "./cases.ts";

export type Outcome = { outcome: "read" | "refused"; find?: undefined } | { outcome: "failed"; find: string };

const TYPED = [
  ImageFormatError,
  ImageNotFoundError,
  StorageError,
  ObjectChangedError,
  JobError,
  ModelPackageError,
];

/** Reads a case like a run would, in the working directory. Reports whether it was read, rejected, or hit a bug. */
export async function tryCase(one: Case): Promise<Outcome> {
  try {
    await readers[
      one.format === "model" || one.format === "manifest" || one.format === "mask" ? one.format : "image"
    ](one);
    return { outcome: "read" };
  } catch (error) {
    const fault = faultOf(error);
    return fault === undefined ? { outcome: "refused" } : { outcome: "failed", find: fault };
  }
}

/** What is wrong with an error; nothing if it is a sentence for a person. */
function faultOf(error: unknown): string | undefined {
  const told = error instanceof Error ? (error.stack ?? String(error)) : `not an Error: ${String(error)}`;
  if (!TYPED.some((type) => error instanceof type)) return `untyped ${told}`;
  const { message } = error as Error;
  const isList = error instanceof CohortManifestError || error instanceof ModelPackageError;
  if (message === "") return `no sentence: ${told}`;
  if (!isList && /[\n\r]/.test(message)) return `more than a line: ${told}`;
  if (/(^|[\s("'])\/(tmp|home|work|root|usr|var)\//.test(message)) return `a path of this machine: ${told}`;
  if (
    /unexpected|\[object |undefined|is not a function|not iterable|cannot read propert|cannot convert|array length|outside the bounds|call stack|allocation|(type|range|syntax)error|github/i.test(
      message,
    )
  )
    return `words of a program: ${told}`;
  return undefined;
}

const readers = { image: readImage, model: readModel, manifest: readManifestRows, mask: readGeoJson };

async function readImage({ key, objects, options, onDisk }: Case): Promise<void> {
  const store = onDisk ? writeObjects(objects) : new MemoryStore(objects);
  let image: ImageSource | undefined;
  try {
    image = await openImage(store, key, options);
    JSON.stringify(describeImage(image));
    for (let level = 0; level < Math.min(image.levels.length, 8); level++) await readLevel(image, level);
    await readOverview(image);
    await readHeaders(image);
  } finally {
    await image?.close();
    if (store instanceof FsStore) {
      await store.close();
      rmSync(store.root, { recursive: true });
    }
  }
}

function writeObjects(objects: Case["objects"]): FsStore {
  const root = path.resolve("case");
  for (const [key, bytes] of Object.entries(objects)) {
    mkdirSync(path.join(root, path.dirname(key)), { recursive: true });
    writeFileSync(path.join(root, key), bytes);
  }
  return new FsStore(root);
}

/** The headers that writers use, first and last. */
async function readHeaders({ headers }: ImageSource): Promise<void> {
  if (!headers) return;
  for (const index of new Set([0, headers.count - 1])) {
    const bytes = await headers.read(index);
    if (headers.format === "dicom") await sourceAttributes(bytes);
    else parseNiftiHeader(bytes, "the source");
  }
}

const WINDOW = [256, 256];
const VOLUME_WINDOW = [8, 128, 128];

/** Windows at both ends and in the middle, and the slice that intensities are sampled from. */
async function readLevel(image: ImageSource, level: number): Promise<void> {
  const { shape, chunk } = image.levels[level]!;
  const window = shape.length === 2 ? WINDOW : VOLUME_WINDOW;
  const size = shape.map((n, axis) => Math.min(n, window[axis]!));
  for (const share of [0, 0.5, 1])
    await readRegion(
      image,
      level,
      shape.map((n, axis) => Math.floor((n - size[axis]!) * share)),
      size,
    );
  const piece = shape.length === 2 ? chunk : [1, 512, 512];
  await readRegion(
    image,
    level,
    shape.map(() => 0),
    shape.map((n, axis) => Math.min(n, 512, Math.max(1, piece[axis]!))),
  );
}

async function readRegion(
  image: ImageSource,
  level: number,
  origin: number[],
  size: number[],
): Promise<void> {
  const { data, shape } = await image.readRegion(level, { origin, size });
  const wanted = [...size, image.channels.length];
  if (shape.join() !== wanted.join() || data.length !== product(wanted))
    throw new TypeError(`a region of ${wanted} came as ${shape} with ${data.length} samples`);
}

const OVERVIEW_SAMPLES = 16 << 20;

/** The thumbnail for the tissue mask, if its level is small enough to read for every file. */
async function readOverview(image: ImageSource): Promise<void> {
  const { levels, channels, axes } = image;
  const coarsest = levels.findLast(({ shape }) => Math.max(...shape) >= 1024) ?? levels[0]!;
  if (axes !== "yx" || product(coarsest.shape) * channels.length > OVERVIEW_SAMPLES) return;
  const rect = { origin: [0, 0], size: levels[0]!.shape };
  await readRegionPicture(
    image,
    rect,
    channels.slice(0, 3).map((_, c) => c),
    undefined,
  );
}

async function readModel({ objects }: Case): Promise<void> {
  await loadPackage(new MemoryStore(objects), "model/", "model");
}

async function readManifestRows({ key, objects }: Case): Promise<void> {
  readManifest(key, decodeManifest(key, objects[key]!), ".");
}

async function readGeoJson({ key, objects }: Case): Promise<void> {
  const directory = mkdtempSync(path.join(tmpdir(), "tilewright-mask-"));
  try {
    const file = path.join(directory, path.basename(key));
    writeFileSync(file, objects[key]!);
    const { raster } = await readMask(file, [400, 600], undefined);
    if (raster.data.length !== product(raster.shape))
      throw new TypeError("the mask has another size than it says");
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

import type { LabelMapInfo, LabelStore } from "../image/label-sink.ts";
import type { Segmenter } from "../inference/segmenter.ts";
import { JobError } from "../orchestrator/errors.ts";
import type { JobPlan } from "../orchestrator/job-plan.ts";
import type { RunManifest } from "../orchestrator/manifest/run-manifest.ts";
import type { ObjectListener } from "../orchestrator/outputs/outputs-options.ts";
import type { Placement } from "../orchestrator/outputs/placement.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { copyBox } from "../tiling/grid/box.ts";
import { chunkCount, chunkGrid, chunkIndex, chunkRect } from "../tiling/grid/chunk-grid.ts";
import { product, type Raster } from "../tiling/grid/raster.ts";
import type { ObjectMeasurements } from "../tiling/objects/measure-objects.ts";
import { MemoryWorkspace, type Published, publishedKeys } from "./memory-workspace.ts";
import type { ModelInput } from "./model-input.ts";
import type { SourceInput } from "./open-source.ts";
import type { ProgressListener } from "./progress.ts";
import type { MaskInput } from "./read-mask.ts";
import { type ImageRun, runImage } from "./run-image.ts";
import { type ResultOptions, SETTING_NAMES } from "./run-options.ts";

/** What every way to segment, plan or inspect an image takes. */
export interface ImageInputs {
  source: SourceInput;
  model: ModelInput;
  variant?: string;
  /** What to segment: an image at any resolution, polygons (GeoJSON), or samples `[height, width]`. */
  mask?: MaskInput;
  signal?: AbortSignal;
}

/** Options of `segment` in every runtime. */
export interface SegmentInputs extends ImageInputs, ResultOptions {
  /** Runs the model instead of a runtime that is opened here; it must pass the model's golden tile. The caller closes it. */
  segmenter?: Segmenter;
  onProgress?: ProgressListener;
}

/** Names of `ImageInputs` and of the choices that a file may leave open. */
export const IMAGE_OPTION_NAMES = [
  "source",
  "model",
  "variant",
  "mask",
  "signal",
  "mpp",
  "series",
  "time",
  "pagesAs",
  ...SETTING_NAMES,
] as const;

/** Names of `SegmentInputs`. */
export const SEGMENT_OPTION_NAMES = [
  ...IMAGE_OPTION_NAMES,
  "out",
  "outputs",
  "segType",
  "threads",
  "batchSize",
  "segmenter",
  "onProgress",
] as const;

/** Below `prefix` ("" or "name/") of a store that can be written. */
export interface StoredOutput {
  store: ObjectStore;
  prefix?: string;
}

/** An object of a 2-D image, such as a nucleus. */
export interface SegmentedObject {
  /** UUID: the same image, model and settings give the same ids. */
  id: string;
  /** Number from 1, in the order of the first pixels. */
  number: number;
  className: string;
  /**
   * Polygons of the object, each an exterior ring and its holes; a ring is `[x, y]` of each corner, in level-0 pixels;
   * its last corner joins the first.
   */
  polygons: readonly (readonly (readonly (readonly [x: number, y: number])[])[])[];
  /** In level-0 pixels. */
  centroid: { x: number; y: number };
  /** Lengths in µm, or in label samples if the pixel size is unknown; bounds and centroid in label samples. */
  measurements: ObjectMeasurements;
}

/** A segmentation in memory. */
export interface SegmentedImage {
  /** Class of every sample, `[height, width]` or `[z, y, x]`: an index of `classes`. */
  labels: Raster<Uint8Array>;
  /** `classes[i]` is the class with index `i`; 0 is background. */
  classes: LabelMapInfo["classes"];
  /** Where the labels lie: origin in level-0 samples, and how many of those a label spans, slow to fast. */
  placement: LabelMapInfo["placement"];
  /** Objects of a 2-D image; empty for a volume, whose structures are in `run.summary`. */
  objects: readonly SegmentedObject[];
  /** Bytes of the files in `outputs`, by name; a Zarr has several. */
  files: ReadonlyMap<string, Uint8Array>;
  /** What the run did, and the proof that it is complete. */
  run: RunManifest;
}

/** Largest label map that is returned as an array: every runtime can allocate it. */
const MAX_ARRAY_SAMPLES = 2 ** 31 - 1;

/** What a runtime provides for a run whose results stay in memory until they are complete. */
export type MemoryRun = Omit<ImageRun, "openWorkspace" | "checkPlan" | "onObject">;

/** Segments an image and returns arrays. @throws {JobError} if the label map is too large for an array */
export async function segmentToArrays(run: MemoryRun): Promise<SegmentedImage> {
  const files = new Map<string, Uint8Array>();
  const objects: SegmentedObject[] = [];
  const { outputs = [] } = run.options;
  const result = await runImage({
    ...run,
    options: { ...run.options, outputs },
    checkPlan: checkFitsArray,
    onObject: (object, placement) => objects.push(toSegmentedObject(object, placement)),
    openWorkspace: async () =>
      new MemoryWorkspace(async (published) => {
        for await (const key of publishedKeys(published)) {
          files.set(key, (await published.store.get(key))!.bytes);
        }
      }),
  });
  const labels = result.labels!;
  const { classes, placement } = labels.info;
  return { labels: await readLabels(labels), classes, placement, objects, files, run: result.manifest };
}

/**
 * Segments an image and puts the outputs into a store, once all are complete; `run.json` comes last. Until then they are
 * in memory, compressed.
 * @throws {JobError} if something is below the prefix already
 */
export async function segmentToStore(
  run: MemoryRun,
  { store, prefix = "" }: StoredOutput,
): Promise<RunManifest> {
  const { signal } = run;
  if (prefix !== "" && !prefix.endsWith("/"))
    throw new JobError(`option out: the prefix "${prefix}" must end with "/"`);
  for await (const key of store.list(prefix, { signal })) {
    throw new JobError(`option out: the store holds ${key} already; choose a prefix that holds nothing`);
  }
  const publish = async (published: Published) => {
    for await (const key of publishedKeys(published)) {
      await store.put(prefix + key, (await published.store.get(key))!.bytes, { signal });
    }
    await store.put(`${prefix}run.json`, new TextEncoder().encode(published.manifest), { signal });
  };
  const { manifest } = await runImage({ ...run, openWorkspace: async () => new MemoryWorkspace(publish) });
  return manifest;
}

function checkFitsArray({ region, output }: JobPlan): void {
  const { size } = output?.region ?? region;
  const samples = product(size);
  if (samples > MAX_ARRAY_SAMPLES) {
    throw new JobError(
      `the label map has ${size.join("×")} samples, more than the ${MAX_ARRAY_SAMPLES} of an array: name a directory or a store as out, or a smaller roi`,
    );
  }
}

async function readLabels(labels: LabelStore): Promise<Raster<Uint8Array>> {
  const { shape, chunk } = labels.info;
  const out = { data: new Uint8Array(product(shape)), shape };
  const grid = chunkGrid(shape, chunk);
  for (let n = 0; n < chunkCount(grid); n++) {
    const index = chunkIndex(grid, n);
    const tile = await labels.readTile(index);
    if (tile === undefined) continue;
    const { origin, size } = chunkRect(grid, index);
    copyBox({ data: tile.data, shape: chunk, origin: size.map(() => 0) }, { ...out, origin }, size);
  }
  return out;
}

function toSegmentedObject(
  { id, runs, kind, polygons, measurements }: Parameters<ObjectListener>[0],
  { origin, downsample }: Placement,
): SegmentedObject {
  const toPoint = (x: number, y: number) =>
    [origin.x + x * downsample.x, origin.y + y * downsample.y] as const;
  const toPoints = (ring: readonly number[]) =>
    Array.from({ length: ring.length / 2 }, (_, i) => toPoint(ring[2 * i]!, ring[2 * i + 1]!));
  const [x, y] = toPoint(measurements.centroid.x, measurements.centroid.y);
  return {
    id,
    number: runs.number,
    className: kind.name,
    polygons: polygons.map((rings) => rings.map(toPoints)),
    centroid: { x, y },
    measurements,
  };
}

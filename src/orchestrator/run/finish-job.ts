import type { ImageSource } from "../../image/image-source.ts";
import type { LabelStore } from "../../image/label-sink.ts";
import type { OutputName, OutputTargets, SegmentationType } from "../../image/output-targets.ts";
import type { ModelPackage } from "../../model-package/load-package.ts";
import type { ModelManifest } from "../../model-package/manifest.ts";
import { sha256Hex } from "../../storage/digest.ts";
import type { Coverage } from "../../tiling/grid/coverage.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import { readPixels } from "../input/read-pixels.ts";
import type { JobPlan } from "../job-plan.ts";
import { planWarnings } from "../manifest/run-manifest.ts";
import { CutLabels } from "../outputs/cut-labels.ts";
import type { ModelObjectRule } from "../outputs/object-kinds.ts";
import type { ObjectListener, OutputsReport } from "../outputs/outputs-options.ts";
import type { OverlayStyle } from "../outputs/overlay.ts";
import { StoredOrderLabels, storedOrderInfo } from "../outputs/stored-order-labels.ts";
import { writeOutputs } from "../outputs/write-outputs.ts";
import { chooseChunkShape } from "../plan/chunk-shape.ts";
import { VERSION } from "../version.ts";

/** What the outputs of a job are made from, and where they go. */
export interface FinishJobOptions {
  /** Holds every chunk of the label map; absent ones are background. */
  labelStore: LabelStore;
  targets: OutputTargets;
  model: Pick<ModelPackage, "manifest" | "hash">;
  plan: JobPlan;
  /** `planCoverage(plan)`. */
  coverage: Coverage;
  source: ImageSource;
  /** Names the slide in the tables. */
  sourceName: string;
  outputs: readonly OutputName[];
  /** Encoding of `labels.seg.dcm`; default binary. */
  segType?: SegmentationType;
  /** How pictures show objects; default outline. */
  overlayStyle?: OverlayStyle;
  /** Called for each object of a 2-D image, in their order. */
  onObject?: ObjectListener;
  signal?: AbortSignal;
  onProgress?: (rowsDone: number, rowsTotal: number) => void;
}

/** Writes the outputs of a label map to `targets`, on one machine and in the service alike. */
export async function finishJob(options: FinishJobOptions): Promise<OutputsReport> {
  const { targets, plan, source, sourceName, signal } = options;
  const { manifest, hash } = options.model;
  const seed = await createObjectSeed(source, sourceName, hash, plan);
  return writeOutputs({
    labelStore: openOutputLabels(options.labelStore, plan),
    outputs: options.outputs,
    targets,
    origin: {
      source,
      segmentation: {
        type: options.segType ?? "binary",
        seed,
        software: VERSION,
        algorithm: { name: manifest.name, version: manifest.version },
        level: plan.level,
        present: [],
      },
    },
    objects: toLabelSamples(manifest, plan),
    source: sourceName,
    idSeed: seed,
    analysedPixels: options.coverage.covered,
    thumbnail: plan.thumbnail,
    overlayStyle: options.overlayStyle,
    warnings: planWarnings(plan, source),
    readSlice: async (z) => {
      const [, ...plane] = source.levels[plan.level]!.shape;
      const rect = { origin: [z, 0, 0], size: [1, ...plane] };
      const pixels = await readPixels(source, plan.level, rect, plan.channels.slice(0, 1), signal);
      return { data: scaled(pixels, plan.scaling), shape: plane };
    },
    readDetail: async ({ x, y, width, height }) => {
      const { region } = plan.output ?? plan;
      const origin = [region.origin[0]! + y, region.origin[1]! + x];
      const pixels = await readPixels(
        source,
        plan.level,
        { origin, size: [height, width] },
        plan.channels,
        signal,
      );
      return toBytes(pixels, plan.scaling);
    },
    onObject: options.onObject,
    signal,
    onProgress: options.onProgress,
  });
}

/** Whether the label store can become `labels.ome.zarr` in place. A reoriented volume or a cut region has to be copied. */
export function labelStoreIsOutput({ reorientation, output }: JobPlan): boolean {
  return !reorientation && !output;
}

/** The label map as it is written: a region without its surroundings, a volume in the axis order of the source. */
export function openOutputLabels(
  labelStore: LabelStore,
  { region, output, reorientation }: JobPlan,
): LabelStore {
  if (output) {
    const size = output.region.size;
    const origin = output.region.origin.map((o, axis) => o - region.origin[axis]!);
    const placement = { ...labelStore.info.placement, origin: output.region0.origin };
    return new CutLabels(
      labelStore,
      { ...labelStore.info, shape: size, chunk: chooseChunkShape(size), placement },
      origin,
    );
  }
  if (!reorientation) return labelStore;
  return new StoredOrderLabels(
    labelStore,
    storedOrderInfo(labelStore.info, reorientation, chooseChunkShape),
    reorientation,
  );
}

/**
 * Seed of object ids and DICOM UIDs, 32 hex digits. The same slide, model and settings give the same ids on every
 * machine and in every bucket; the etag is left out because each storage computes it differently.
 */
async function createObjectSeed(
  source: ImageSource,
  name: string,
  modelHash: string,
  plan: JobPlan,
): Promise<string> {
  // Without shards and chunks, which do not change the result.
  const { level, grid, kept, modelWindow, importance, precision, channels, scaling } = plan;
  const { region } = plan.output ?? plan;
  const { window, overlapRatio, policy } = grid;
  const about = JSON.stringify([
    [VERSION, name, source.byteLength, modelHash],
    { level, region, window, overlapRatio, policy, modelWindow, importance, precision, channels, scaling },
  ]);
  const text = new TextEncoder().encode(about);
  const bytes = new Uint8Array(text.length + kept.bits.length);
  bytes.set(text);
  bytes.set(kept.bits, text.length);
  return sha256Hex(bytes, 16);
}

/** Model samples that an interior may grow into its boundary, unless the package states it. */
const DEFAULT_GROWTH = 8;

/** Converts the sizes of a package from model samples to label samples; they differ where windows are resampled. */
function toLabelSamples({ objects }: ModelManifest, plan: JobPlan): ModelObjectRule | undefined {
  if (!objects) return undefined;
  const scale = plan.grid.window.map((w, axis) => w / plan.modelWindow[axis]!);
  const length = Math.sqrt(scale[0]! * scale[1]!);
  return {
    ...objects,
    minArea: Math.max(1, Math.round(objects.minArea * scale[0]! * scale[1]!)),
    maxGrow: Math.max(1, Math.ceil((objects.maxGrow ?? DEFAULT_GROWTH) * length)),
  };
}

/** 8-bit samples for pictures: 0 at the low intensity of the model's normalization, 255 at the high one. */
function toBytes(pixels: Raster, scaling: { low: number; high: number }): Raster<Uint8Array> {
  if (pixels.data instanceof Uint8Array) return pixels as Raster<Uint8Array>;
  return { data: scaled(pixels, scaling), shape: pixels.shape };
}

function scaled(pixels: Raster, scaling: { low: number; high: number }): Uint8Array {
  const range = Math.max(scaling.high - scaling.low, 1e-6);
  const data = new Uint8ClampedArray(pixels.data.length);
  for (let i = 0; i < data.length; i++) data[i] = ((pixels.data[i]! - scaling.low) / range) * 255;
  return new Uint8Array(data.buffer);
}

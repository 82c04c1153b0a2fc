import type { ImageSource } from "../../image/image-source.ts";
import type { LabelStore } from "../../image/label-sink.ts";
import {
  OUTPUTS,
  type OutputName,
  type OutputTargets,
  PLANE_OUTPUTS,
  type SegmentationType,
  VOLUME_OUTPUTS,
} from "../../image/output-targets.ts";
import type { ModelManifest } from "../../model-package/manifest.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import { JobError } from "../errors.ts";
import { readPixels } from "../input/read-pixels.ts";
import type { JobPlan } from "../job-plan.ts";
import { CutLabels } from "../outputs/cut-labels.ts";
import type { ObjectsRule } from "../outputs/object-kinds.ts";
import type { OutputsReport } from "../outputs/outputs-options.ts";
import type { OverlayStyle } from "../outputs/overlay.ts";
import { StoredOrderLabels, storedOrderInfo } from "../outputs/stored-order-labels.ts";
import { writeOutputs } from "../outputs/write-outputs.ts";
import { chooseChunkShape } from "../plan/plan-job.ts";
import { VERSION } from "../version.ts";
import { planWarnings } from "./run-manifest.ts";

/** What is written where nothing is asked for: of volumes also what goes back to where they came from. */
export function defaultOutputs({ axes, headers }: Pick<ImageSource, "axes" | "headers">): OutputName[] {
  if (axes === "yx")
    return PLANE_OUTPUTS.filter((name) => !name.startsWith("instances.") && name !== "labels.seg.dcm");
  return VOLUME_OUTPUTS.filter(
    (name) =>
      (name !== "labels.nii.gz" || headers?.format === "nifti") &&
      (name !== "labels.seg.dcm" || headers?.format === "dicom"),
  );
}

/** Output names, checked, in the order of the list and once each. */
export function parseOutputs(names: readonly string[]): OutputName[] {
  if (names.length === 0) throw new JobError(`no output is asked for: choose of ${OUTPUTS.join(", ")}`);
  for (const name of names) {
    if (!OUTPUTS.includes(name as OutputName)) {
      throw new JobError(`there is no output "${name}": choose of ${OUTPUTS.join(", ")}`);
    }
  }
  return OUTPUTS.filter((name) => names.includes(name));
}

/** @throws {JobError} when an output is asked for that the source has none of */
export function checkOutputs(
  outputs: readonly OutputName[],
  { axes, headers }: Pick<ImageSource, "axes" | "headers">,
): void {
  const possible = axes === "yx" ? PLANE_OUTPUTS : VOLUME_OUTPUTS;
  const other = outputs.find((name) => !possible.includes(name));
  if (other !== undefined) {
    throw new JobError(
      `${other} is for ${axes === "yx" ? "volumes, and this is a 2-D image" : "2-D images, and this is a volume"}: choose of ${possible.join(", ")}`,
    );
  }
  if (outputs.includes("labels.seg.dcm") && headers?.references === undefined) {
    throw new JobError(
      "labels.seg.dcm refers to the DICOM series or slide it was made from, and the source is none: choose another output",
    );
  }
}

/** Writes the chosen outputs of a finished label map, wherever `targets` puts them. */
export function writeJobOutputs(options: {
  /** Holds every chunk of the label map that is not all background. */
  stage: LabelStore;
  targets: OutputTargets;
  manifest: ModelManifest;
  plan: JobPlan;
  source: ImageSource;
  /** Names the slide in the tables. */
  sourceName: string;
  /** Of `objectSeed`. */
  objectSeed: string;
  outputs: readonly OutputName[];
  /** Of `labels.seg.dcm`; default binary. */
  segType?: SegmentationType;
  /** How pictures show objects; default outline. */
  overlayStyle?: OverlayStyle;
  analysedPixels: number;
  signal?: AbortSignal;
  onProgress?: (rowsDone: number, rowsTotal: number) => void;
}): Promise<OutputsReport> {
  const { targets, manifest, plan, source, signal } = options;
  return writeOutputs({
    stage: outputLabels(options.stage, plan),
    outputs: options.outputs,
    targets,
    origin: {
      source,
      segmentation: {
        type: options.segType ?? "binary",
        seed: options.objectSeed,
        software: VERSION,
        algorithm: { name: manifest.name, version: manifest.version },
        level: plan.level,
        present: [],
      },
    },
    objects: objectsOnGrid(manifest, plan),
    source: options.sourceName,
    idSeed: options.objectSeed,
    analysedPixels: options.analysedPixels,
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
    signal,
    onProgress: options.onProgress,
  });
}

/** Whether merged labels are outputs as they are: a volume's may be turned on its way out, a region's are cut. */
export function labelStoreIsOutput({ reorientation, output }: JobPlan): boolean {
  return !reorientation && !output;
}

/** What outputs are written from: a region without what lies around it, a volume in the order of the source. */
function outputLabels(stage: LabelStore, { region, output, reorientation }: JobPlan): LabelStore {
  if (output) {
    const size = output.region.size;
    const origin = output.region.origin.map((o, axis) => o - region.origin[axis]!);
    const placement = { ...stage.info.placement, origin: output.region0.origin };
    return new CutLabels(
      stage,
      { ...stage.info, shape: size, chunk: chooseChunkShape(size), placement },
      origin,
    );
  }
  if (!reorientation) return stage;
  return new StoredOrderLabels(
    stage,
    storedOrderInfo(stage.info, reorientation, chooseChunkShape),
    reorientation,
  );
}

/**
 * What the ids of objects are made from: the same slide, model and settings give the same ids, on this machine and in a
 * bucket. Hence no etag, which every storage makes in its own way.
 */
export async function objectSeed(
  source: ImageSource,
  name: string,
  modelHash: string,
  plan: JobPlan,
): Promise<string> {
  // Nothing of how the work was cut: it changes no result.
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
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest.subarray(0, 16), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** Model samples that an interior may grow into its boundary, where the package does not say. */
const DEFAULT_GROWTH = 8;

/** The package states sizes in model samples; where windows are resampled, a label sample is not one of those. */
function objectsOnGrid({ objects }: ModelManifest, plan: JobPlan): ObjectsRule | undefined {
  if (!objects) return undefined;
  const scale = plan.grid.window.map((w, axis) => w / plan.modelWindow[axis]!);
  const length = Math.sqrt(scale[0]! * scale[1]!);
  return {
    ...objects,
    minArea: Math.max(1, Math.round(objects.minArea * scale[0]! * scale[1]!)),
    maxGrow: Math.max(1, Math.ceil((objects.maxGrow ?? DEFAULT_GROWTH) * length)),
  };
}

/** Deep samples as the model sees them: from its low to its high intensity. */
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

import type { ModelManifest } from "../../model-package/manifest.ts";
import { JobError } from "../errors.ts";
import type { WindowSource } from "../input/reoriented-image.ts";
import type { JobPlan } from "../job-plan.ts";
import type { FullJobSettings } from "../settings.ts";

const MICROMETERS = { micrometer: 1, millimeter: 1000 } as const;
/** Maximum side of a window in samples of the level: a shard's region must fit in memory. */
const WINDOW_LIMIT = 4096;

/**
 * Pixels may be this many times larger than the model's, unless the package or the user allows more. Both bundled
 * networks were trained up to about this factor: nuclei on images of 0.577 µm for 0.25, hippocampus on volumes of 1 mm
 * for 0.5. The next objective of a microscope, 10× for a network of 40×, gives a factor of 4.
 */
const MAX_MAGNIFICATION = 2.5;
/** From this factor on the image is of another kind, not just too coarse. */
const OTHER_KIND = 100;
/** Tolerance for rounding of decimal spacings. */
const EPSILON = 1e-6;

/** The level that a model is applied to. */
export interface ChosenLevel {
  level: number;
  /** Micrometres per sample of the level, slow to fast. */
  mpp: readonly number[];
  /** Size of the model's window in samples of the level. */
  window: readonly number[];
  /** Pixel size relative to the model's, along the limiting axis. 1: no resampling; above 1: pixels are magnified. */
  magnification: number;
}

/**
 * Chooses the coarsest level that is not coarser than the model's spacing (within its tolerance), or level 0; and the
 * window in samples of that level with the physical size of the model's window.
 * @throws {JobError} if the requested level does not exist, its pixels are too coarse, or the window does not fit
 */
export function chooseLevel(
  source: Pick<WindowSource, "spacing" | "levels">,
  manifest: ModelManifest,
  { level: asked, maxMagnification }: Pick<FullJobSettings, "level" | "maxMagnification">,
  slices: JobPlan["slices"],
): ChosenLevel {
  if (!source.spacing) {
    throw new JobError("the image does not state its pixel size: give it with --mpp <micrometres per pixel>");
  }
  const unit = MICROMETERS[source.spacing.unit];
  const mpp0 = source.spacing.values.map((v) => v * unit);
  const { spacing, spacingTolerance } = manifest.input;
  const modelUnit = MICROMETERS[spacing.unit];
  if (mpp0.length === 3 && !slices && spacing.z === undefined) {
    throw new JobError(`model ${manifest.name} does not state its spacing along z: add it to model.json`);
  }
  const inModel = [spacing.z ?? 1, spacing.y, spacing.x].map((v) => v * modelUnit);
  // The spacing along the slice axis does not matter.
  const modelMpp = slices
    ? inModel.slice(1).toSpliced(slices.axis, 0, Number.NaN)
    : inModel.slice(-mpp0.length);
  const isPlane = (axis: number) => axis !== slices?.axis;
  if (asked !== undefined && !(asked >= 0 && asked < source.levels.length)) {
    throw new JobError(
      `level ${asked} does not exist: the image has levels 0 to ${source.levels.length - 1}`,
    );
  }
  const mppAt = (level: number) => mpp0.map((v, axis) => v * source.levels[level]!.downsample[axis]!);
  let level = asked ?? 0;
  if (asked === undefined) {
    for (let l = 1; l < source.levels.length; l++) {
      if (mppAt(l).every((v, axis) => !isPlane(axis) || v <= modelMpp[axis]! * (1 + spacingTolerance)))
        level = l;
    }
  }
  const mpp = mppAt(level);
  const ratio = mpp.map((v, axis) => (isPlane(axis) ? modelMpp[axis]! / v : 1));
  const fits = ratio.every((r) => Math.abs(r - 1) <= spacingTolerance);
  const size = slices ? manifest.window.size.toSpliced(slices.axis, 0, 1) : manifest.window.size;
  const window = size.map((w, axis) => (fits ? w : Math.max(1, Math.round(w * ratio[axis]!))));
  const limiting = limitingAxis(
    ratio.map((r) => 1 / r),
    slices,
  );
  const magnification = fits ? 1 : 1 / ratio[limiting]!;
  const long = Math.max(...window);
  const short = Math.min(...window.filter((_, axis) => isPlane(axis)));
  const isTooSmall = short < Math.min(8, ...manifest.window.size);
  const most = maxMagnification ?? manifest.input.maxMagnification ?? MAX_MAGNIFICATION;
  const takesVolumes = manifest.input.axes === "zyx" || manifest.input.slices !== undefined;
  if (mpp.length === 3 && !takesVolumes && magnification > OTHER_KIND) {
    throw new JobError(
      `the image is a volume of ${Number((mpp[limiting]! / 1000).toPrecision(3))} mm samples, and model ${manifest.name} was made for microscopy: choose a model for volumes, such as --model hippocampus`,
    );
  }
  if (magnification > most * (1 + EPSILON)) {
    const sizes = { level, mpp: mpp[limiting]!, modelMpp: modelMpp[limiting]!, most };
    throw new JobError(tooCoarseMessage(manifest, sizes, isTooSmall));
  }
  if (long > WINDOW_LIMIT) {
    throw new JobError(
      `at level ${level} (${Number(mpp[0]!.toPrecision(3))} µm) a window of the model spans ${long} pixels: check --mpp`,
    );
  }
  if (isTooSmall) {
    throw new JobError(
      `at level ${level} (${Number(mpp[0]!.toPrecision(3))} µm) a window of the model spans ${short} pixels, too few to see anything: choose a finer --level or check --mpp`,
    );
  }
  return { level, mpp, window, magnification };
}

/**
 * The axis whose spacing limits magnification. Planes: the coarsest axis. Volumes for a 3-D network: the second
 * coarsest, because slices are often several times thicker than their pixels, and 3-D networks are trained for that.
 */
function limitingAxis(factors: readonly number[], slices: JobPlan["slices"]): number {
  const axes = factors.map((_, axis) => axis).filter((axis) => axis !== slices?.axis);
  axes.sort((a, b) => factors[b]! - factors[a]!);
  return axes.length > 2 ? axes[1]! : axes[0]!;
}

/** Suggests --max-magnification only if it would succeed. */
function tooCoarseMessage(
  { name, input }: ModelManifest,
  { level, mpp, modelMpp, most }: { level: number; mpp: number; modelMpp: number; most: number },
  isTooSmall: boolean,
): string {
  const [unit, symbol] = input.spacing.unit === "millimeter" ? [1000, "mm"] : [1, "µm"];
  const digits = (n: number) => Number(n.toPrecision(3));
  const factor = mpp / modelMpp;
  const finer = level === 0 ? "a finer scan" : "a finer --level or scan";
  const ways = [
    `take ${finer} or a model for such pixels`,
    "correct a wrong size with --mpp",
    ...(isTooSmall ? [] : [`insist with --max-magnification ${Math.ceil(factor)}`]),
  ];
  return `pixels of ${digits(mpp / unit)} ${symbol} (level ${level}) would be magnified ${digits(factor)} times for model ${name}, which was made for ${digits(modelMpp / unit)} ${symbol}, and beyond ${digits(most)} times its results mean nothing: ${ways.slice(0, -1).join(", ")} or ${ways.at(-1)}`;
}

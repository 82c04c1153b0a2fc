import type { ImageSource } from "../../image/image-source.ts";
import type { ModelDomain, ModelManifest } from "../../model-package/manifest.ts";
import { windowRect } from "../../tiling/grid/window-grid.ts";
import type { DomainFinding, Feature } from "../domain-finding.ts";
import { readShard } from "../input/read-shard.ts";
import type { JobPlan } from "../job-plan.ts";

const FEATURES: readonly Feature[] = ["luminance", "saturation", "colour", "sharpness"];

interface Features {
  luminance: Float64Array;
  saturation?: Float64Array;
  colour?: Float64Array;
  sharpness: number;
}

/** Number of compared windows. Single windows vary more than a whole scan. */
const COMPARED_WINDOWS = 24;
/** Distance above which a warning is given. No held-out image of the bundled models exceeds 1. */
export const FAR = 1.25;
/** Tolerated factor between pixel sizes, or lengths of sides, and those of the training images. */
const SIZE_TOLERANCE = 1.5;

/**
 * Compares a scan with the training images of a model, from windows spread over the kept ones. docs/format.md describes
 * the measure; `model/domain_statistics.py` computes the statistics of the training images.
 */
export async function measureDomain(
  source: ImageSource,
  manifest: ModelManifest,
  plan: JobPlan,
  signal: AbortSignal | undefined,
): Promise<DomainFinding | undefined> {
  const { domain } = manifest;
  if (!domain) return undefined;
  const found: Features[] = [];
  for (const window of spread(plan, COMPARED_WINDOWS)) {
    const shard = { id: 0, windows: [window], rect: windowRect(plan.grid, window) };
    const { pixels } = await readShard(source, plan, shard, signal);
    found.push(measureFeatures(pixels.data, pixels.shape.slice(1), plan, manifest, domain.bins));
  }
  const nearest = nearestKind(average(found, domain.bins), domain);
  return { ...nearest, warnings: describeWarnings(source, manifest, domain, plan, nearest) };
}

function spread({ kept }: JobPlan, count: number): number[] {
  const size = kept.size;
  const wanted = new Set(
    Array.from({ length: Math.min(count, size) }, (_, i) =>
      Math.floor(((i + 0.5) / Math.min(count, size)) * size),
    ),
  );
  const out: number[] = [];
  let n = 0;
  for (const window of kept) if (wanted.has(n++)) out.push(window);
  return out;
}

/** @param shape `[...window, channels]` */
function measureFeatures(
  data: ArrayLike<number>,
  shape: readonly number[],
  { scaling, slices }: JobPlan,
  { input }: ModelManifest,
  bins: number,
): Features {
  const [height, width, channels] = shape.slice(-3) as [number, number, number];
  const depth = data.length / (height * width * channels);
  const range = Math.max(scaling.high - scaling.low, Number.EPSILON);
  const value = (i: number) => {
    const v = (data[i]! - scaling.low) / range;
    return v > 0 ? Math.min(v, 1) : 0;
  };
  // One source channel feeds all channels of the model: a grey picture.
  const isColour = !slices && input.channels === 3;
  const luminance = new Float64Array(depth * height * width);
  const light = new Float64Array(bins);
  const saturation = new Float64Array(bins);
  const colour = new Float64Array(3);
  const share = 1 / luminance.length;
  for (let i = 0; i < luminance.length; i++) {
    const at = i * channels;
    if (slices) luminance[i] = value(at + (channels >> 1));
    else {
      let low = 1;
      let high = 0;
      let sum = 0;
      for (let c = 0; c < channels; c++) {
        const v = value(at + c);
        sum += v;
        if (v < low) low = v;
        if (v > high) high = v;
      }
      luminance[i] = sum / channels;
      if (isColour) {
        saturation[Math.min(bins - 1, Math.floor((high - low) * bins))]! += share;
        if (channels === 3) for (let c = 0; c < 3; c++) colour[c]! += (value(at + c) - luminance[i]!) * share;
      }
    }
    light[Math.min(bins - 1, Math.floor(luminance[i]! * bins))]! += share;
  }
  return {
    luminance: light,
    ...(isColour && { saturation, colour }),
    sharpness: Math.log(laplacianVariance(luminance, depth, height, width) + 1e-8),
  };
}

function laplacianVariance(data: Float64Array, depth: number, height: number, width: number): number {
  let sum = 0;
  let squares = 0;
  let n = 0;
  for (let z = 0; z < depth; z++) {
    for (let y = 1; y < height - 1; y++) {
      for (let x = 1, i = (z * height + y) * width + 1; x < width - 1; x++, i++) {
        const edge = 4 * data[i]! - data[i - 1]! - data[i + 1]! - data[i - width]! - data[i + width]!;
        sum += edge;
        squares += edge * edge;
        n++;
      }
    }
  }
  return n === 0 ? 0 : Math.max(0, squares / n - (sum / n) ** 2);
}

function average(found: readonly Features[], bins: number): Features {
  const mean = (length: number, of: (features: Features) => Float64Array) => {
    const out = new Float64Array(length);
    for (const features of found) {
      const values = of(features);
      for (let i = 0; i < length; i++) out[i]! += values[i]! / found.length;
    }
    return out;
  };
  const isColour = found[0]?.colour !== undefined;
  return {
    luminance: mean(bins, (f) => f.luminance),
    ...(isColour && { saturation: mean(bins, (f) => f.saturation!), colour: mean(3, (f) => f.colour!) }),
    sharpness: found.reduce((sum, f) => sum + f.sharpness, 0) / found.length,
  };
}

/** The kind with the smallest distance of its farthest feature. */
export function nearestKind(
  found: Features,
  { kinds, bins }: ModelDomain,
): Pick<DomainFinding, "distance" | "kind" | "feature"> {
  let best = { distance: Number.POSITIVE_INFINITY, kind: "", feature: FEATURES[0]! };
  for (const kind of kinds) {
    let worst = { distance: -1, feature: FEATURES[0]! };
    for (const feature of FEATURES) {
      const trained = kind[feature];
      const seen = found[feature];
      if (trained === undefined || seen === undefined) continue;
      const distance = apart(feature, seen, trained.mean, bins) / trained.reach;
      if (distance > worst.distance) worst = { distance, feature };
    }
    if (worst.distance < best.distance) best = { ...worst, kind: kind.name };
  }
  return best;
}

/** Earth mover's distance for histograms (area between their cumulative sums), Euclidean distance for the others. */
function apart(
  feature: Feature,
  a: ArrayLike<number> | number,
  b: ArrayLike<number> | number,
  bins: number,
): number {
  if (typeof a === "number" || typeof b === "number") return Math.abs((a as number) - (b as number));
  const isHistogram = feature !== "colour";
  let sum = 0;
  let running = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = a[i]! - b[i]!;
    running += difference;
    sum += isHistogram ? Math.abs(running) / bins : difference * difference;
  }
  return isHistogram ? sum : Math.sqrt(sum);
}

const FEATURE_NAMES: Record<Feature, string> = {
  luminance: "brightness",
  saturation: "saturation",
  colour: "colour",
  sharpness: "sharpness",
};

function describeWarnings(
  source: ImageSource,
  { name, input }: ModelManifest,
  domain: ModelDomain,
  { mpp, downsample, reorientation }: JobPlan,
  { distance, kind, feature }: Pick<DomainFinding, "distance" | "kind" | "feature">,
): string[] {
  const warnings: string[] = [];
  const modality = source.details?.modality;
  if (modality !== undefined && modality !== domain.modality && /^[A-Z]{2}$/.test(modality)) {
    warnings.push(`the scan's modality is ${modality}, model ${name} was trained on ${domain.modality}`);
  }
  if (distance > FAR) {
    warnings.push(
      `the scan is unlike the images that model ${name} was trained on: its ${FEATURE_NAMES[feature]} is ${distance.toFixed(1)} times as far from the nearest kind (${kind}) as the training images`,
    );
  }
  const unit = input.spacing.unit === "millimeter" ? 1000 : 1;
  const axes = ["z", "y", "x"].slice(-mpp.length) as ("z" | "y" | "x")[];
  const off = axes.findIndex((axis, a) => {
    const size = mpp[a]! / unit;
    const ranges = domain.kinds.flatMap(({ spacing }) => spacing[axis] ?? []);
    return (
      ranges.length > 0 &&
      ranges.every(({ min, max }) => size < min / SIZE_TOLERANCE || size > max * SIZE_TOLERANCE)
    );
  });
  if (off >= 0) {
    const size = Number((mpp[off]! / unit).toPrecision(3));
    warnings.push(
      `samples of ${size} ${unit === 1000 ? "mm" : "µm"} along ${axes[off]} are outside the sizes that model ${name} was trained on`,
    );
  }
  const sides = reorientation
    ? reorientation.axes.map((axis) => source.levels[0]!.shape[axis]!)
    : source.levels[0]!.shape;
  const large = axes.some((axis, a) => {
    const side = (sides[a]! * mpp[a]!) / downsample[a]! / unit;
    const extents = domain.kinds.flatMap(({ extent }) => extent?.[axis] ?? []);
    return extents.length > 0 && extents.every(({ max }) => side > max * SIZE_TOLERANCE);
  });
  if (large) {
    const most = domain.kinds.find(({ extent }) => extent)!.extent!;
    const size = (axis: "z" | "y" | "x") => most[axis]?.max ?? "?";
    warnings.push(
      `the volume is larger than those that model ${name} was trained on (up to ${size("x")} × ${size("y")} × ${size("z")} ${unit === 1000 ? "mm" : "µm"}): it was made for volumes cropped around the structure`,
    );
  }
  return warnings;
}

import type { Raster } from "../grid/raster.ts";

/** Kind of background: bright glass (bright field) or darkness (fluorescence). */
export type Background = "bright" | "dark";

/** Evidence that a part of an image is background. Measured on the thumbnail, background against the rest. */
export interface BackgroundEvidence {
  /** Share of the thumbnail. */
  share: number;
  /** Mean gradient of the rest divided by that of the background: background is smooth. */
  smoothness: number;
  /** Colour of the rest minus that of the background, in grey levels: background has no colour. */
  colour: number;
  /** How much rarer the rest is along the border than in the whole thumbnail: 1 if it never reaches the border, -1 at worst. */
  border: number;
}

/** The detected background, and the evidence. */
export interface TissueFinding {
  /** "none": no background is certain, so everything is segmented. */
  background: Background | "none";
  /** Evidence for the background, or for the likelier kind if none is certain. */
  evidence?: BackgroundEvidence;
  /** Share of exactly black padding around a bright field, as scanners add it. */
  padding?: number;
  /** A sentence for the user. */
  warning?: string;
}

/** Minimum difference of the two means of Otsu's method, in grey levels; below it there is no contrast. */
const MIN_CONTRAST = 6;
/** Glass: minimum brightness of a typical pixel in every channel, and its maximum colour. */
const GLASS_LIMITS = { darkest: 150, colour: 45 };
/** Darkness: maximum brightness of a typical pixel in any channel. */
const DARK_LIMITS = { brightest: 100 };
/** Ratio of gradients from which smoothness alone decides. */
const SMOOTHNESS_RATIO = 2;
/** Difference in colour, in grey levels, that decides between the two kinds. */
const COLOUR_DIFFERENCE = 8;
/** Ratio of gradients below which a warning is given. */
const WARN_SMOOTHNESS = 3;
/** Share of kept pixels below which a warning is given. */
const WARN_KEPT = 0.005;

/**
 * Finds tissue in a thumbnail `[h, w, C]` (uint8): everything that stands out of the background, grown by one pixel. Two
 * hypotheses are tested, bright glass and darkness, each at two thresholds: background is smooth, has no colour and lies
 * along the border. If neither is certain, everything counts as tissue. The threshold is just above the noise of the
 * background and never above Otsu's: a missed dim nucleus would be a silent hole, one more empty window costs
 * milliseconds.
 */
export function findTissue(thumbnail: Raster<Uint8Array>): {
  mask: Raster<Uint8Array>;
  finding: TissueFinding;
} {
  const [height, width] = thumbnail.shape as [number, number];
  const features = measurePixels(thumbnail);
  const padding = findPadding(features);
  const bright = weigh("bright", features, padding);
  // Black padding is ignored around a bright field; in a dark one it is part of the background.
  const dark = weigh("dark", features, bright?.certain ? padding : undefined);
  const candidates = [bright, dark].filter((candidate) => candidate !== undefined);
  const certain = candidates.filter(({ certain }) => certain).sort((a, b) => b.score - a.score);
  const [best, rival] = certain;
  const shape = [height, width];
  // Two equally likely hypotheses exclude each other: none is certain.
  if (best === undefined || (rival !== undefined && rival.score > best.score * 0.8)) {
    const likelier = candidates.sort((a, b) => b.score - a.score)[0];
    return {
      mask: { data: new Uint8Array(height * width).fill(1), shape },
      finding: { background: "none", ...(likelier && { evidence: likelier.evidence }) },
    };
  }
  const { mask, background, evidence } = best;
  const isPadded = background === "bright" && padding !== undefined;
  if (isPadded) for (let i = 0; i < mask.length; i++) if (padding.mask[i]) mask[i] = 0;
  const finding: TissueFinding = {
    background,
    evidence,
    ...(isPadded && { padding: padding.share }),
  };
  const warning = describeDoubt(finding, mask);
  if (warning) finding.warning = warning;
  return { mask: { data: dilate(mask, width, height), shape }, finding };
}

interface Features {
  height: number;
  width: number;
  /** Per pixel, over channels. */
  darkest: Uint8Array;
  brightest: Uint8Array;
  /** Largest difference to the right and lower neighbour, over channels. */
  steepness: Uint8Array;
}

function measurePixels({ data, shape }: Raster<Uint8Array>): Features {
  const [height, width, channels] = shape as [number, number, number];
  const pixels = height * width;
  const darkest = new Uint8Array(pixels);
  const brightest = new Uint8Array(pixels);
  const steepness = new Uint8Array(pixels);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      let low = 255;
      let high = 0;
      let step = 0;
      for (let c = 0; c < channels; c++) {
        const v = data[i * channels + c]!;
        if (v < low) low = v;
        if (v > high) high = v;
        if (x + 1 < width) step = Math.max(step, Math.abs(v - data[(i + 1) * channels + c]!));
        if (y + 1 < height) step = Math.max(step, Math.abs(v - data[(i + width) * channels + c]!));
      }
      darkest[i] = low;
      brightest[i] = high;
      steepness[i] = step;
    }
  }
  return { height, width, darkest, brightest, steepness };
}

/** Minimum share of the thumbnail for black areas to count as padding. */
const PADDING_SHARE = 0.005;

/** Exactly black areas that reach the border: the padding of scanners. */
function findPadding({
  height,
  width,
  brightest,
}: Features): { mask: Uint8Array; share: number } | undefined {
  const mask = new Uint8Array(height * width);
  const stack: number[] = [];
  const visit = (i: number) => {
    if (mask[i] === 0 && brightest[i] === 0) {
      mask[i] = 1;
      stack.push(i);
    }
  };
  for (let x = 0; x < width; x++) {
    visit(x);
    visit((height - 1) * width + x);
  }
  for (let y = 0; y < height; y++) {
    visit(y * width);
    visit(y * width + width - 1);
  }
  let count = 0;
  for (let i = stack.pop(); i !== undefined; i = stack.pop()) {
    count++;
    const x = i % width;
    if (x > 0) visit(i - 1);
    if (x + 1 < width) visit(i + 1);
    if (i >= width) visit(i - width);
    if (i + width < mask.length) visit(i + width);
  }
  const share = count / mask.length;
  return share >= PADDING_SHARE ? { mask, share } : undefined;
}

interface Weighed {
  background: Background;
  /** 1 for pixels that stand out of the background. */
  mask: Uint8Array;
  evidence: BackgroundEvidence;
  certain: boolean;
  score: number;
}

/** Tests the hypothesis of one kind of background; undefined if no pixel could be that background. */
function weigh(
  background: Background,
  features: Features,
  padding: { mask: Uint8Array; share: number } | undefined,
): Weighed | undefined {
  const isBright = background === "bright";
  const { darkest, brightest } = features;
  const pixels = darkest.length;
  const distance = new Uint8Array(pixels);
  const histogram = new Float64Array(256);
  for (let i = 0; i < pixels; i++) {
    const d = isBright ? 255 - darkest[i]! : brightest[i]!;
    distance[i] = d;
    if (!padding?.mask[i]) histogram[d]!++;
  }
  const otsu = otsuThreshold(histogram);
  if (otsu.separation < MIN_CONTRAST) return undefined;
  const { threshold, mode } = backgroundThreshold(histogram, otsu.threshold);
  const apart = (t: number) => {
    const mask = new Uint8Array(pixels);
    for (let i = 0; i < pixels; i++) mask[i] = distance[i]! > t ? 1 : 0;
    return mask;
  };
  const mask = apart(threshold);
  const close = compare(features, mask, padding?.mask);
  // The hypothesis must hold at both thresholds.
  const wide = compare(features, apart(otsu.threshold), padding?.mask);
  if (close === undefined || wide === undefined) return undefined;
  const looksRight = isBright
    ? 255 - mode >= GLASS_LIMITS.darkest && close.background.colour <= GLASS_LIMITS.colour
    : mode <= DARK_LIMITS.brightest;
  const score = Math.min(scoreEvidence(close), scoreEvidence(wide));
  return { background, mask, evidence: close.evidence, certain: looksRight && score > 0, score };
}

/** Score of the evidence, above 0 for background. Smoothness counts most; colour in the background rules it out. */
function scoreEvidence({ evidence: { smoothness, colour, border, share }, isFlat }: Comparison): number {
  if (colour < -COLOUR_DIFFERENCE) return -1;
  // If both parts are flat, smoothness decides nothing: the larger part is more likely background.
  const smooth = isFlat ? share - 0.5 : Math.log(smoothness / SMOOTHNESS_RATIO);
  return smooth + Math.min(1, Math.max(0, colour) / (4 * COLOUR_DIFFERENCE)) + border;
}

interface Comparison {
  evidence: BackgroundEvidence;
  background: { colour: number };
  /** Whether both parts are flat. */
  isFlat: boolean;
}

/** Compares background and rest; undefined if one of them is empty. */
function compare(
  { height, width, darkest, brightest, steepness }: Features,
  mask: Uint8Array,
  padding: Uint8Array | undefined,
): Comparison | undefined {
  // Background first, then the rest: number of pixels, sum of colour, pixels with neighbours of the same part, sum of gradients.
  const count = [0, 0];
  const colour = [0, 0];
  const inner = [0, 0];
  const steep = [0, 0];
  const border = [0, 0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (padding?.[i]) continue;
      const kind = mask[i]!;
      count[kind]!++;
      colour[kind]! += brightest[i]! - darkest[i]!;
      if (y === 0 || x === 0 || y === height - 1 || x === width - 1) border[kind]!++;
      else if (
        mask[i + 1] === kind &&
        mask[i + width] === kind &&
        mask[i - 1] === kind &&
        mask[i - width] === kind &&
        !padding?.[i + 1] &&
        !padding?.[i + width]
      ) {
        inner[kind]!++;
        steep[kind]! += steepness[i]!;
      }
    }
  }
  const [background, rest] = count as [number, number];
  if (background === 0 || rest === 0) return undefined;
  const mean = (sum: number[], kind: number, n: number[]) => (n[kind] ? sum[kind]! / n[kind]! : 0);
  // A thin rest has no interior: it consists of edges, which are steep.
  const restSteepness =
    inner[1]! >= 16 ? mean(steep, 1, inner) : SMOOTHNESS_RATIO * 4 * (mean(steep, 0, inner) + NOISE_GRADIENT);
  const share = background / (background + rest);
  const restAtBorder = border[1]! / Math.max(1, border[0]! + border[1]!);
  return {
    evidence: {
      share,
      smoothness: (restSteepness + NOISE_GRADIENT) / (mean(steep, 0, inner) + NOISE_GRADIENT),
      colour: mean(colour, 1, count) - mean(colour, 0, count),
      border: Math.max(-1, 1 - restAtBorder / (1 - share)),
    },
    background: { colour: mean(colour, 0, count) },
    isFlat: Math.max(mean(steep, 0, inner), mean(steep, 1, inner)) < FLAT_GRADIENT,
  };
}

/** Gradient, in grey levels, that counts as flat. */
const FLAT_GRADIENT = 0.5;
/** Gradient, in grey levels, of an empty thumbnail: rounding. */
const NOISE_GRADIENT = 0.5;

/** Threshold above the most common value below Otsu's threshold, by its noise. */
function backgroundThreshold(histogram: Float64Array, otsu: number): { threshold: number; mode: number } {
  let mode = 0;
  for (let v = 1; v <= otsu; v++) if (histogram[v]! > histogram[mode]!) mode = v;
  let below = 0;
  let spread = 0;
  for (let v = 0; v <= mode; v++) {
    below += histogram[v]!;
    spread += histogram[v]! * (mode - v) ** 2;
  }
  const sigma = Math.sqrt(spread / below);
  return { threshold: Math.min(otsu, mode + Math.max(4, Math.ceil(4 * sigma))), mode };
}

function describeDoubt({ evidence, background }: TissueFinding, mask: Uint8Array): string | undefined {
  let kept = 0;
  for (let i = 0; i < mask.length; i++) kept += mask[i]!;
  const share = kept / mask.length;
  const percent = (n: number) => `${(100 * n).toFixed(n < 0.1 ? 1 : 0)} %`;
  if (share < WARN_KEPT) return `only ${percent(share)} of the image counts as tissue`;
  if (evidence!.smoothness < WARN_SMOOTHNESS)
    return `the ${background} background that was left out (${percent(evidence!.share)} of the image) is not much smoother than the kept part: it may be tissue`;
  return undefined;
}

/** Otsu 1979: the threshold of largest between-class variance; `separation` is the distance of the two means. */
function otsuThreshold(histogram: Float64Array): { threshold: number; separation: number } {
  let total = 0;
  let weighted = 0;
  for (let v = 0; v < 256; v++) {
    total += histogram[v]!;
    weighted += v * histogram[v]!;
  }
  let best = -1;
  let threshold = 0;
  let separation = 0;
  let count = 0;
  let sum = 0;
  for (let v = 0; v < 255; v++) {
    count += histogram[v]!;
    sum += v * histogram[v]!;
    if (count === 0 || count === total) continue;
    const gap = (weighted - sum) / (total - count) - sum / count;
    const variance = count * (total - count) * gap * gap;
    if (variance > best) {
      best = variance;
      threshold = v;
      separation = gap;
    }
  }
  return { threshold, separation };
}

/** One step in all eight directions: tissue borders lie between thumbnail pixels. */
function dilate(mask: Uint8Array, width: number, height: number): Uint8Array {
  const out = new Uint8Array(mask.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (mask[y * width + x] === 0) continue;
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) out[v * width + u] = 1;
      }
    }
  }
  return out;
}

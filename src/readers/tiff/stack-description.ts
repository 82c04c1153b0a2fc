import type { Spacing } from "../../image/image-source.ts";
import { micrometersPer } from "../../image/length-units.ts";
import { plausibleSpacing } from "../../image/spacing.ts";
import type { TiffPage } from "./page.ts";

/** What a description states about the planes of a stack. */
export interface StatedStack {
  name: string;
  planes: number;
  /** Slow to fast, those of more than one plane; undefined if only their number is stated. */
  dimensions: { axis: string; size: number }[] | undefined;
  /** Unit of the resolution tags, as written. */
  unit: string | undefined;
  /** `[y, x]`, if the description itself states it. */
  spacing: Spacing | undefined;
  /** Distance of planes in micrometres. */
  spacingZ: number | undefined;
}

type PlaneSize = Pick<TiffPage, "width" | "height" | "samplesPerPixel">;

/** Parses ImageJ's lines or tifffile's JSON; undefined for any other text. */
export function parseStack(text: string | undefined, page: PlaneSize): StatedStack | undefined {
  if (text === undefined) return undefined;
  if (text.startsWith("ImageJ=")) return parseImageJ(text);
  return /^\s*\{.*"shape"/s.test(text.slice(0, 4096)) ? parseShaped(text, page) : undefined;
}

function parseImageJ(text: string): StatedStack {
  const pairs = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const equals = line.indexOf("=");
    if (equals > 0) pairs.set(line.slice(0, equals).trim(), line.slice(equals + 1).trim());
  }
  const count = (name: string) => Number(pairs.get(name) ?? 1);
  const planes = count("images");
  // Channels vary fastest, then depths, then times.
  const dimensions = [
    { axis: "T", size: count("frames") },
    { axis: "Z", size: count("slices") },
    { axis: "C", size: count("channels") },
  ];
  const areWholeSizes = dimensions.every(({ size }) => Number.isInteger(size) && size >= 1);
  const fits = areWholeSizes && dimensions.reduce((product, { size }) => product * size, 1) === planes;
  const unit = pairs.get("yunit") === undefined ? pairs.get("unit") : undefined;
  return {
    name: "ImageJ",
    planes,
    dimensions: fits ? dimensions.filter(({ size }) => size > 1) : undefined,
    unit,
    spacing: undefined,
    spacingZ: distance(pairs.get("spacing"), pairs.get("zunit") ?? unit),
  };
}

/** `{"shape": [5, 100, 80], "axes": "CYX", …}`, with further fields of its user. */
function parseShaped(text: string, page: PlaneSize): StatedStack | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { shape, axes, unit, spacing, ...rest } = parsed as Record<string, unknown>;
  if (!Array.isArray(shape) || shape.length > 16 || !shape.every((n) => Number.isInteger(n) && n >= 1))
    return undefined;
  const sizes = shape as number[];
  const planeSamples = page.width * page.height * page.samplesPerPixel;
  const planes = sizes.reduce((product, n) => product * n, 1) / planeSamples;
  if (!Number.isInteger(planes)) return undefined;
  const named = (key: string) => (typeof rest[key] === "string" ? rest[key] : undefined);
  const size = (axis: string) =>
    distance(rest[`PhysicalSize${axis}`], named(`PhysicalSize${axis}Unit`) ?? "µm");
  const [y, x] = [size("Y"), size("X")];
  const stated = typeof unit === "string" ? unit : undefined;
  return {
    name: "tifffile",
    planes,
    dimensions:
      typeof axes === "string" ? findDimensions(axes.toUpperCase(), sizes, planes, page) : undefined,
    unit: stated,
    spacing: y && x ? plausibleSpacing(y, x) : undefined,
    spacingZ: size("Z") ?? distance(spacing, stated),
  };
}

/** The axes that pages run over: all but y, x and the samples of a pixel. */
function findDimensions(axes: string, sizes: readonly number[], planes: number, page: PlaneSize) {
  if (axes.length !== sizes.length) return undefined;
  const all = [...axes].map((axis, i) => ({ axis, size: sizes[i]! })).filter(({ size }) => size > 1);
  const over = all.filter(({ axis }) => axis !== "Y" && axis !== "X" && axis !== "S");
  // Channels may be the samples of a pixel, too.
  for (const dimensions of [
    over,
    over.filter(({ axis, size }) => axis !== "C" || size !== page.samplesPerPixel),
  ])
    if (dimensions.reduce((product, { size }) => product * size, 1) === planes) return dimensions;
  return undefined;
}

/** In micrometres; ImageJ's is negative for a stack that was taken downwards. */
function distance(value: unknown, unit: string | undefined): number | undefined {
  const factor = unit === undefined ? undefined : micrometersPer(unit);
  const length = Math.abs(
    typeof value === "string" || typeof value === "number" ? Number(value) : Number.NaN,
  );
  return factor !== undefined && length > 0 && Number.isFinite(length) ? length * factor : undefined;
}
